//! How TLS is used: the parameters `ssl…` and `PGSSL…`, as `pg` reads them, and libpq's besides.

use super::host::Host;
use super::parameters::Parameters;
use super::pem::Pem;
use super::refusal::unmet;
use super::trust::{self, Decision, Trust};
use crate::error::Error;
use std::path::PathBuf;

const LEAST_VERSION: &str = "ssl_min_protocol_version";

/// How TLS is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) struct TlsPolicy {
    pub trust: Trust,
    pub roots: Roots,
    pub identity: Option<Identity>,
    /// The server has to ask for the client's certificate (`sslcertmode=require`).
    pub must_ask_identity: bool,
    /// TLS from the first byte on, without asking for it (PostgreSQL 17 and later).
    pub direct: bool,
    /// What the server is called where its host is an address.
    pub name_of_address: Option<String>,
    /// Whether the server is told by which name it is known to the client (`sslsni`).
    pub sends_name: bool,
    pub versions: Versions,
}

/// Who may have signed the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) enum Roots {
    /// Whom the platform trusts, and whoever is in this file besides (`NODE_EXTRA_CA_CERTS`).
    Platform { extra: Option<PathBuf> },
    /// Only these.
    Named(Pem),
}

/// Who the client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) struct Identity {
    pub certificate: Pem,
    pub key: Pem,
}

/// Which versions of TLS will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) struct Versions {
    pub tls12: bool,
    pub tls13: bool,
}

/// Reads the policy; `None`: no TLS.
pub(super) fn read(parameters: &Parameters, hosts: &[Host]) -> Result<Option<TlsPolicy>, Error> {
    let versions = read_versions(parameters)?;
    let certificate_mode = read_certificate_mode(parameters)?;
    let sends_name = read_sends_name(parameters)?;
    let direct = read_direct(parameters)?;
    let must_ask_identity = certificate_mode == CertificateMode::Require;
    let decision = trust::read(parameters)?;
    // By a unix socket TLS is not used, whatever was said.
    let is_local = |host: &Host| host.socket().is_some();
    if must_ask_identity && hosts.iter().any(is_local) {
        return Err(unused(parameters, "sslcertmode"));
    }
    let Decision::Use(trust) = decision else {
        let asks_for_version = matches!(decision, Decision::NotAsked) && !hosts.iter().all(is_local);
        return match (direct, must_ask_identity, asks_for_version && parameters.get(LEAST_VERSION)?.is_some()) {
            (true, _, _) => Err(unused(parameters, "sslnegotiation")),
            (_, true, _) => Err(unused(parameters, "sslcertmode")),
            (_, _, true) => Err(unused(parameters, LEAST_VERSION)),
            (false, false, false) => match parameters.by_caller("requiressl")? {
                // libpq has the last of the two words count.
                Some(value) if value.text.starts_with('1') => Err(unused(parameters, "requiressl")),
                _ => Ok(None),
            },
        };
    };
    let identity = read_identity(parameters)?.filter(|_| certificate_mode != CertificateMode::Disable);
    if must_ask_identity && identity.is_none() {
        return Err(unmet("sslcertmode", "sslcert and sslkey, what is to be shown, are missing"));
    }
    Ok(Some(TlsPolicy {
        identity,
        roots: read_roots(parameters, trust)?,
        trust,
        must_ask_identity,
        direct,
        name_of_address: parameters.tls.servername.clone(),
        sends_name,
        versions,
    }))
}

/// The error of a parameter that asks for TLS where it is not used.
fn unused(parameters: &Parameters, name: &'static str) -> Error {
    match parameters.get(name) {
        Ok(Some(value)) => value.unmet("it asks for TLS, which is not used; see sslmode"),
        _ => unmet(name, "it asks for TLS, which is not used"),
    }
}

fn read_direct(parameters: &Parameters) -> Result<bool, Error> {
    let Some(value) = parameters.get("sslnegotiation")? else { return Ok(false) };
    match value.text.as_str() {
        "postgres" => Ok(false),
        "direct" => Ok(true),
        _ => Err(value.invalid("postgres or direct")),
    }
}

/// Whether the client shows its certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CertificateMode {
    Disable,
    Allow,
    Require,
}

fn read_certificate_mode(parameters: &Parameters) -> Result<CertificateMode, Error> {
    let Some(value) = parameters.get("sslcertmode")? else { return Ok(CertificateMode::Allow) };
    match value.text.as_str() {
        "disable" => Ok(CertificateMode::Disable),
        "allow" => Ok(CertificateMode::Allow),
        "require" => Ok(CertificateMode::Require),
        _ => Err(value.invalid("disable, allow or require")),
    }
}

fn read_sends_name(parameters: &Parameters) -> Result<bool, Error> {
    let Some(value) = parameters.get("sslsni")? else { return Ok(true) };
    match value.text.as_str() {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(value.invalid("0 or 1")),
    }
}

fn read_versions(parameters: &Parameters) -> Result<Versions, Error> {
    const NAMES: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
    let number = |name: &'static str| -> Result<_, Error> {
        let Some(value) = parameters.get(name)? else { return Ok(None) };
        match NAMES.iter().position(|known| known.eq_ignore_ascii_case(&value.text)) {
            Some(number) => Ok(Some((number, value))),
            None => Err(value.invalid(&NAMES.join(", "))),
        }
    };
    let least = number(LEAST_VERSION)?;
    let most = number("ssl_max_protocol_version")?;
    let reaches = |version: usize| {
        least.as_ref().is_none_or(|(number, _)| *number <= version)
            && most.as_ref().is_none_or(|(number, _)| version <= *number)
    };
    let versions = Versions { tls12: reaches(2), tls13: reaches(3) };
    match most {
        Some((_, value)) if !versions.tls12 && !versions.tls13 => {
            Err(value.unmet("it leaves neither TLS 1.2 nor TLS 1.3, and older ones are not spoken"))
        }
        _ => Ok(versions),
    }
}

fn read_identity(parameters: &Parameters) -> Result<Option<Identity>, Error> {
    if let (Some(certificate), Some(key)) = (&parameters.tls.cert, &parameters.tls.key) {
        return Ok(Some(Identity {
            certificate: Pem::Text { field: "ssl.cert", text: certificate.clone() },
            key: Pem::Text { field: "ssl.key", text: key.clone() },
        }));
    }
    match (parameters.get("sslcert")?, parameters.get("sslkey")?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some(Identity { certificate: Pem::in_file(certificate), key: Pem::in_file(key) }))
        }
        (None, Some(key)) => Err(key.unmet("sslcert, the certificate that it belongs to, is missing")),
        (Some(certificate), None) => Err(certificate.unmet("sslkey, the key that belongs to it, is missing")),
    }
}

fn read_roots(parameters: &Parameters, trust: Trust) -> Result<Roots, Error> {
    if let Some(text) = &parameters.tls.ca {
        return Ok(Roots::Named(Pem::Text { field: "ssl.ca", text: text.clone() }));
    }
    let path = match trust {
        // Read all the same, as `pg` does, to miss a file that is named.
        Trust::Nothing => parameters.by_caller("sslrootcert")?,
        Trust::Name | Trust::Issuer => parameters.get("sslrootcert")?,
    };
    Ok(match path.filter(|path| path.text != trust::PLATFORM) {
        Some(path) => Roots::Named(Pem::in_file(path)),
        None => Roots::Platform { extra: parameters.environment.get("NODE_EXTRA_CA_CERTS").map(PathBuf::from) },
    })
}
