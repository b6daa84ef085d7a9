//! The servers to try: a host and a port each, in lists as libpq has them.

use super::invalid;
use crate::error::{Error, Peer};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

const DEFAULT_HOST: &str = "localhost";
const DEFAULT_PORT: u16 = 5432;

/// What names a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::pg) struct Host {
    /// A host name, an IP address, or the folder of a unix socket, which begins with `/`.
    pub name: String,
    /// Where it is, without asking by name.
    pub address: Option<IpAddr>,
    pub port: u16,
}

impl Host {
    /// The unix socket, if it is one.
    pub fn socket(&self) -> Option<PathBuf> {
        let is_socket = self.address.is_none() && self.name.starts_with('/');
        is_socket.then(|| PathBuf::from(&self.name).join(format!(".s.PGSQL.{}", self.port)))
    }

    /// The same for an error.
    pub fn peer(&self) -> Peer {
        match self.socket() {
            Some(path) => Peer { address: path.display().to_string(), port: None },
            None => Peer { address: self.name.clone(), port: Some(self.port) },
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.name, self.port)
    }
}

/// Reads the lists; a missing or empty entry has a default.
pub(super) fn read(hosts: Option<&str>, addresses: Option<&str>, ports: Option<&str>) -> Result<Vec<Host>, Error> {
    let list =
        |text: Option<&str>| text.map(|text| text.split(',').map(str::trim).map(str::to_owned).collect::<Vec<_>>());
    let (names, addresses, ports) = (list(hosts), list(addresses), list(ports).unwrap_or_default());
    let count = names.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
    for (name, entries) in [("host", &names), ("hostaddr", &addresses)] {
        if entries.as_ref().is_some_and(|entries| entries.len() != count) {
            return Err(invalid(name, "as many entries as hostaddr has"));
        }
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(invalid("port", "one for all hosts or one for each"));
    }
    let entry =
        |list: &Option<Vec<String>>, index: usize| list.as_ref().map_or("", |list| list[index].as_str()).to_owned();
    (0..count)
        .map(|index| {
            let (name, address) = (entry(&names, index), entry(&addresses, index));
            let port = ports.get(index).or_else(|| if ports.len() == 1 { ports.first() } else { None });
            let name = match (name.is_empty(), address.is_empty()) {
                (false, _) => name,
                (true, false) => address.clone(),
                (true, true) => DEFAULT_HOST.to_owned(),
            };
            let address = match address.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| invalid("hostaddr", "an IP address"))?),
            };
            Ok(Host { name, address, port: read_port(port.map_or("", String::as_str))? })
        })
        .collect()
}

fn read_port(text: &str) -> Result<u16, Error> {
    match text.parse() {
        _ if text.is_empty() => Ok(DEFAULT_PORT),
        Ok(0) | Err(_) => Err(invalid("port", "a number from 1 to 65535")),
        Ok(port) => Ok(port),
    }
}
