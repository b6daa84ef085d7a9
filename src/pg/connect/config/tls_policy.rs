//! Whether to use TLS and whom to trust then: the parameters `ssl…` and `PGSSL…`, as `pg` reads them.
//!
//! Two things of `pg` are not taken over: that `ssl=false` turns TLS on, and that an unknown mode is one.

use super::environment::Environment;
use super::invalid;
use super::parts::Parts;
use crate::error::Error;
use std::path::PathBuf;

const MODES: &str = "disable, allow, prefer, require, verify-ca, verify-full or no-verify";

/// How TLS is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) struct TlsPolicy {
    pub trust: Trust,
    pub roots: Roots,
    pub identity: Option<Identity>,
    /// TLS from the first byte on, without asking for it (PostgreSQL 17 and later).
    pub direct: bool,
}

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

/// Who may have signed the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) enum Roots {
    /// Whom the platform trusts, and whoever is in this file besides (`NODE_EXTRA_CA_CERTS`).
    Platform { extra: Option<PathBuf> },
    /// Only who is in this file.
    File(PathBuf),
}

/// Who the client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Reads the policy; `None`: no TLS.
pub(super) fn read(parts: &Parts, environment: &Environment) -> Result<Option<TlsPolicy>, Error> {
    let variable = environment.get("PGSSLMODE");
    let part = |name: &str, variable: &str| environment.unless(parts.get(name), variable);
    let direct = match part("sslnegotiation", "PGSSLNEGOTIATION").as_deref() {
        None | Some("postgres") => false,
        Some("direct") => true,
        Some(_) => return Err(invalid("sslnegotiation", "postgres or direct")),
    };
    let Some(trust) = read_trust(parts, variable.as_deref())? else {
        if direct {
            return Err(invalid("sslnegotiation", "TLS to be used where it is `direct`"));
        }
        return Ok(None);
    };
    let identity = match (part("sslcert", "PGSSLCERT"), part("sslkey", "PGSSLKEY")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(Identity { certificate: certificate.into(), key: key.into() }),
        (None, Some(_)) => return Err(invalid("sslcert", "the certificate that sslkey belongs to")),
        (Some(_), None) => return Err(invalid("sslkey", "the key of the certificate in sslcert")),
    };
    let roots = match trust {
        // Read all the same, as `pg` does, to miss a file that is named.
        Trust::Nothing => parts.get("sslrootcert").map(str::to_owned),
        Trust::Name | Trust::Issuer => part("sslrootcert", "PGSSLROOTCERT"),
    };
    // libpq's word for the platform's roots.
    let roots = match roots.filter(|path| path != "system") {
        Some(path) => Roots::File(path.into()),
        None => Roots::Platform { extra: environment.get("NODE_EXTRA_CA_CERTS").map(PathBuf::from) },
    };
    Ok(Some(TlsPolicy { trust, roots, identity, direct }))
}

fn read_trust(parts: &Parts, variable: Option<&str>) -> Result<Option<Trust>, Error> {
    let mode = parts.get("sslmode");
    // In libpq's sense some modes are weaker; `pg` takes them so where it is told to.
    let like_libpq = parts.get("uselibpqcompat") == Some("true");
    match mode {
        None => {}
        Some("disable") => return Ok(None),
        Some("prefer") if like_libpq => return Ok(Some(Trust::Nothing)),
        Some("require") if like_libpq && parts.get("sslrootcert").is_none() => return Ok(Some(Trust::Nothing)),
        Some("verify-ca") if like_libpq && parts.get("sslrootcert").is_none() => {
            return Err(invalid(
                "sslrootcert",
                "one where sslmode is verify-ca: whom else to trust is not safe without the name",
            ));
        }
        Some("require" | "verify-ca") if like_libpq => return Ok(Some(Trust::Issuer)),
        Some("no-verify") if !like_libpq => return Ok(Some(Trust::Nothing)),
        Some("allow" | "prefer" | "require" | "verify-ca" | "verify-full" | "no-verify") => {
            return Ok(Some(Trust::Name));
        }
        Some(_) => return Err(invalid("sslmode", MODES)),
    }
    // Files turn TLS on, whatever `ssl` says.
    if ["sslrootcert", "sslcert", "sslkey"].into_iter().any(|name| parts.get(name).is_some()) {
        return Ok(Some(Trust::Name));
    }
    if parts.has("ssl") {
        return match parts.get("ssl") {
            None | Some("0" | "false") => Ok(None),
            Some("1" | "true") => Ok(Some(Trust::Name)),
            Some("no-verify") => Ok(Some(Trust::Nothing)),
            Some(_) => Err(invalid("ssl", "true, false or no-verify")),
        };
    }
    if parts.get("sslnegotiation") == Some("direct") {
        return Ok(Some(Trust::Name));
    }
    match variable {
        None | Some("disable" | "allow") => Ok(None),
        Some("prefer" | "require" | "verify-ca" | "verify-full") => Ok(Some(Trust::Name)),
        Some("no-verify") => Ok(Some(Trust::Nothing)),
        Some(_) => Err(invalid("PGSSLMODE", MODES)),
    }
}
