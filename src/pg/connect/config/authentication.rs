//! How a server may have the client prove who it is: the parameters `require_auth` and `channel_binding` (manual, section
//! 32.1.2).

use super::parameters::Parameters;
use crate::error::Error;

/// Whether the proof of the password is tied to the TLS connection, so that nobody in between can pass it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// A way in which a server may ask for a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) enum AuthMethod {
    /// The server asks for nothing.
    None,
    /// The password in clear text.
    Password,
    Md5,
    Gss,
    Sspi,
    /// With or without channel binding.
    ScramSha256,
    Oauth,
}

impl AuthMethod {
    const ALL: [AuthMethod; 7] = [
        AuthMethod::None,
        AuthMethod::Password,
        AuthMethod::Md5,
        AuthMethod::Gss,
        AuthMethod::Sspi,
        AuthMethod::ScramSha256,
        AuthMethod::Oauth,
    ];

    /// libpq's name for it.
    pub fn name(self) -> &'static str {
        match self {
            AuthMethod::None => "none",
            AuthMethod::Password => "password",
            AuthMethod::Md5 => "md5",
            AuthMethod::Gss => "gss",
            AuthMethod::Sspi => "sspi",
            AuthMethod::ScramSha256 => "scram-sha-256",
            AuthMethod::Oauth => "oauth",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The ways that will do (`require_auth`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) struct RequireAuth(u8);

impl RequireAuth {
    /// Whatever the server asks for.
    pub const ANY: RequireAuth = RequireAuth(u8::MAX);

    /// Whether the server may ask in this way. [`AuthMethod::None`]: whether it may let the client in without asking.
    pub fn allows(self, method: AuthMethod) -> bool {
        self.0 & method.bit() != 0
    }
}

/// Reads `require_auth`: a list of ways that will do, or of ways that will not, each behind an exclamation mark.
pub(super) fn read_require_auth(parameters: &Parameters) -> Result<RequireAuth, Error> {
    let Some(list) = parameters.get("require_auth")? else { return Ok(RequireAuth::ANY) };
    let (mut listed, mut denials) = (0, 0);
    let entries: Vec<&str> = list.text.split(',').map(str::trim).collect();
    for entry in &entries {
        let name = entry.strip_prefix('!').inspect(|_| denials += 1).unwrap_or(entry);
        let method = AuthMethod::ALL.into_iter().find(|method| method.name() == name);
        match method.map(AuthMethod::bit) {
            Some(bit) if listed & bit == 0 => listed |= bit,
            Some(_) => return Err(list.invalid("each method once")),
            None => {
                let names = AuthMethod::ALL.map(AuthMethod::name).join(", ");
                return Err(list.invalid(&format!("a list of {names}, or of these with `!` before each")));
            }
        }
    }
    match denials {
        0 => Ok(RequireAuth(listed)),
        all if all == entries.len() => Ok(RequireAuth(!listed)),
        _ => Err(list.invalid("methods that all have `!` before them, or none")),
    }
}

/// Reads `channel_binding`, which asks for TLS where it is required.
pub(super) fn read_channel_binding(parameters: &Parameters, has_tls: bool) -> Result<ChannelBinding, Error> {
    let Some(value) = parameters.get("channel_binding")? else { return Ok(ChannelBinding::Prefer) };
    match value.text.as_str() {
        "prefer" => Ok(ChannelBinding::Prefer),
        "disable" => Ok(ChannelBinding::Disable),
        "require" if has_tls => Ok(ChannelBinding::Require),
        "require" => Err(value.invalid("TLS to be used where it is `require`")),
        _ => Err(value.invalid("disable, prefer or require")),
    }
}

/// As `pg` has it.
const DEFAULT_SCRAM_MAX_ITERATIONS: u32 = 100_000;

/// Reads `scramMaxIterations`, which is `pg`'s.
pub(super) fn read_scram_max_iterations(parameters: &Parameters) -> Result<u32, Error> {
    let Some(value) = parameters.get("scramMaxIterations")? else { return Ok(DEFAULT_SCRAM_MAX_ITERATIONS) };
    value.text.parse().map_err(|_| value.invalid("a whole number, 0 for no limit"))
}
