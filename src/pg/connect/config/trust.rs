//! Whether to use TLS and what makes a server trusted then: the parameters `ssl` and `sslmode`, as `pg` reads them.
//!
//! Two things of `pg` are not taken over: that `ssl=false` turns TLS on, and that an unknown mode is one.

use super::parameters::{Parameters, Value};
use crate::error::Error;

const MODES: &str = "disable, allow, prefer, require, verify-ca, verify-full or no-verify";
/// libpq's word for the platform's roots in the place of a file of roots.
pub(super) const PLATFORM: &str = "system";

/// What makes a server trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) enum Trust {
    /// A certificate for its name from somebody trusted.
    Name,
    /// Any certificate from somebody trusted.
    Issuer,
    /// Nothing: the connection is encrypted, to whomever.
    Nothing,
}

/// Whether TLS is used.
pub(super) enum Decision {
    Use(Trust),
    /// It was said that it need not be.
    Refused,
    /// Nothing was said, and then it is not.
    NotAsked,
}

pub(super) fn read(parameters: &Parameters) -> Result<Decision, Error> {
    let decision = match parameters.by_caller("sslmode")? {
        Some(mode) => read_mode(parameters, &mode)?,
        None => read_without_mode(parameters)?,
    };
    let Some(roots) = parameters.get("sslrootcert")?.filter(|roots| roots.text == PLATFORM) else {
        return Ok(decision);
    };
    match decision {
        Decision::Use(Trust::Name) | Decision::NotAsked => Ok(Decision::Use(Trust::Name)),
        // As in libpq: without the name anybody would be trusted who has a certificate of one of the platform's authorities.
        _ => Err(roots.unmet("the authorities of the platform need sslmode=verify-full")),
    }
}

/// The mode of the string. In libpq's sense some modes are weaker; `pg` takes them so where it is told to.
/// A file of roots makes them stronger, whether the parameter names it or the variable.
fn read_mode(parameters: &Parameters, mode: &Value) -> Result<Decision, Error> {
    let is_like_libpq = parameters.by_caller("uselibpqcompat")?.is_some_and(|value| value.text == "true");
    let has_roots = parameters.tls.ca.is_some() || parameters.get("sslrootcert")?.is_some();
    Ok(Decision::Use(match mode.text.as_str() {
        "disable" => return Ok(Decision::Refused),
        "prefer" if is_like_libpq => Trust::Nothing,
        "require" if is_like_libpq && !has_roots => Trust::Nothing,
        "verify-ca" if is_like_libpq && !has_roots => {
            return Err(mode.unmet("sslrootcert is missing: whom else to trust is not safe without the name"));
        }
        "require" | "verify-ca" if is_like_libpq => Trust::Issuer,
        "no-verify" if !is_like_libpq => Trust::Nothing,
        "allow" | "prefer" | "require" | "verify-ca" | "verify-full" | "no-verify" => Trust::Name,
        _ => return Err(mode.invalid(MODES)),
    }))
}

fn read_without_mode(parameters: &Parameters) -> Result<Decision, Error> {
    if parameters.by_caller("requiressl")?.is_some_and(|value| value.text.starts_with('1')) {
        return Ok(Decision::Use(Trust::Name));
    }
    // Files turn TLS on, whatever `ssl` says.
    for name in ["sslrootcert", "sslcert", "sslkey"] {
        if parameters.by_caller(name)?.is_some() {
            return Ok(Decision::Use(Trust::Name));
        }
    }
    if parameters.has_by_caller("ssl") {
        let Some(value) = parameters.by_caller("ssl")? else { return Ok(Decision::Refused) };
        return Ok(match value.text.as_str() {
            "0" | "false" => Decision::Refused,
            "1" | "true" => Decision::Use(Trust::Name),
            "no-verify" => Decision::Use(Trust::Nothing),
            _ => return Err(value.invalid("true, false or no-verify")),
        });
    }
    if parameters.by_caller("sslnegotiation")?.is_some_and(|value| value.text == "direct") {
        return Ok(Decision::Use(Trust::Name));
    }
    let Some(mode) = parameters.by_variable("sslmode")? else {
        let is_required = parameters.by_variable("requiressl")?.is_some_and(|value| value.text.starts_with('1'));
        return Ok(if is_required { Decision::Use(Trust::Name) } else { Decision::NotAsked });
    };
    match mode.text.as_str() {
        "disable" | "allow" => Ok(Decision::Refused),
        "prefer" | "require" | "verify-ca" | "verify-full" => Ok(Decision::Use(Trust::Name)),
        "no-verify" => Ok(Decision::Use(Trust::Nothing)),
        _ => Err(mode.invalid(MODES)),
    }
}
