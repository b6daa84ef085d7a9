//! Parameters of libpq by which a client asks for more safety than it has otherwise. Each is honoured or refused by name: none
//! is passed over, as an unknown one is.

use super::host::Host;
use super::parameters::Parameters;
use super::refusal;
use crate::error::Error;

/// The variable that names a service.
const SERVICE: &str = "PGSERVICE";

/// Refuses what is not done here.
pub(super) fn refuse_unsupported(parameters: &Parameters) -> Result<(), Error> {
    for name in ["sslcrl", "sslcrldir"] {
        if let Some(value) = parameters.get(name)? {
            return Err(value.unmet("lists of revoked certificates are not read"));
        }
    }
    if let Some(value) = parameters.get("service")? {
        return Err(value.unmet("service files are not read"));
    }
    // Where nothing else says it, the service of psql's users says where the server is: a lock on another one excludes nobody.
    let is_placed = parameters.get("host")?.is_some() || parameters.get("hostaddr")?.is_some();
    if !is_placed && parameters.environment.get(SERVICE).is_some() {
        return Err(refusal::unmet(SERVICE, "service files are not read, and nothing else names a host"));
    }
    if let Some(value) = parameters.get("gssencmode")? {
        match value.text.as_str() {
            "disable" | "prefer" => {}
            "require" => return Err(value.unmet("connections are encrypted by TLS, not by GSSAPI")),
            _ => return Err(value.invalid("disable or prefer")),
        }
    }
    if let Some(value) = parameters.get("min_protocol_version")? {
        match value.text.as_str() {
            "3.0" => {}
            "3.2" | "latest" => return Err(value.unmet("version 3.0 of the protocol is spoken")),
            _ => return Err(value.invalid("3.0")),
        }
    }
    Ok(())
}

/// The operating system's user who has to run the server. Only the socket of a unix domain tells who does.
pub(super) fn read_required_peer(parameters: &Parameters, hosts: &[Host]) -> Result<Option<String>, Error> {
    let Some(value) = parameters.get("requirepeer")? else { return Ok(None) };
    if cfg!(unix) && hosts.iter().all(|host| host.socket().is_some()) {
        return Ok(Some(value.text));
    }
    Err(value.unmet("only a unix socket tells who runs the server"))
}
