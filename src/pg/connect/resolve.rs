//! From a host name to the addresses to try, in their order.

use crate::error::Error;
use crate::pg::connect::blocking::off_thread;
use crate::pg::connect::config::Host;
use dns_lookup::{getaddrinfo, AddrInfoHints, LookupError, LookupErrorKind, SockType};
use std::net::SocketAddr;

/// The addresses of a host, the first choice first.
///
/// # Errors
/// `ENOTFOUND`: it has none. `EAI_AGAIN`: nobody could say so now. Others as the system's resolver tells them, by Node's names.
///
/// # Cancel safety
/// A name goes on being looked up, for nobody.
pub(in crate::pg) async fn resolve(host: &Host) -> Result<Vec<SocketAddr>, Error> {
    if let Some(address) = host.address {
        return Ok(vec![SocketAddr::new(address, host.port)]);
    }
    let (name, port) = (host.name.clone(), host.port);
    let found = off_thread(move || look_up(&name, port)).await.and_then(|found| found);
    found.map(interleaved).map_err(|error| error.at(&host.peer()))
}

fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    // Without it each address comes once for each kind of socket.
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let failure = |error| failure(error, name);
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(failure)?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for entry in found {
        let mut address = entry.map_err(|error| Error::system(&error, None))?.sockaddr;
        address.set_port(port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Error::new("ENOTFOUND", format!("ENOTFOUND {name}: the name has no address")));
    }
    Ok(addresses)
}

fn failure(error: LookupError, name: &str) -> Error {
    use LookupErrorKind as Kind;
    let code = match error.kind() {
        Kind::NoName | Kind::NoData => "ENOTFOUND",
        Kind::Again => "EAI_AGAIN",
        Kind::Badflags => "EAI_BADFLAGS",
        Kind::Fail => "EAI_FAIL",
        Kind::Family => "EAI_FAMILY",
        Kind::Socktype => "EAI_SOCKTYPE",
        Kind::Service => "EAI_SERVICE",
        Kind::Memory => "EAI_MEMORY",
        // A number that the library does not know is one of the resolver's all the same.
        Kind::Unknown | Kind::IO if error.error_num() != 0 => "EAI_FAIL",
        Kind::Unknown | Kind::IO | Kind::System => {
            return Error::system(&error.into(), None).about(&format!("the host name {name} cannot be looked up"));
        }
    };
    Error::new(code, format!("{code} {name}: {error}"))
}

/// Families in turn, so that one that is cut off holds up nobody (RFC 8305, section 4). Within a family, and in what comes
/// first, the system's order counts.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_ipv4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let of = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').map(|address| SocketAddr::new(address.parse().unwrap(), 5432)).collect()
        };
        for (given, expected) in [
            ("::1 ::2 ::3 10.0.0.1 10.0.0.2", "::1 10.0.0.1 ::2 10.0.0.2 ::3"),
            ("10.0.0.2 10.0.0.1 ::1", "10.0.0.2 ::1 10.0.0.1"),
            ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("::1", "::1"),
        ] {
            assert_eq!(interleaved(of(given)), of(expected));
        }
        assert_eq!(interleaved(Vec::new()), Vec::new());
    }
}
