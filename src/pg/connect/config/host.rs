//! The servers to try: a host and a port each, in lists as libpq has them.

use super::parameters::{Parameters, Value};
use super::refusal::invalid;
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
pub(super) fn read(parameters: &Parameters) -> Result<Vec<Host>, Error> {
    let names = parameters.get("host")?.as_ref().map(entries);
    let addresses = parameters.get("hostaddr")?.as_ref().map(read_addresses).transpose()?;
    let ports = parameters.get("port")?;
    let count = names.as_ref().map(Vec::len).or(addresses.as_ref().map(Vec::len)).unwrap_or(1);
    if addresses.as_ref().is_some_and(|addresses| addresses.len() != count) {
        return Err(invalid("host", "as many entries as hostaddr has"));
    }
    let ports = ports.as_ref().map_or(Ok(vec![DEFAULT_PORT; count]), |value| read_ports(value, count))?;
    let read_one = |(index, port): (usize, u16)| {
        let name = names.as_ref().map(|names| names[index].clone()).filter(|name| !name.is_empty());
        let address = addresses.as_ref().and_then(|addresses| addresses[index]);
        let name = name.or(address.map(|address| address.to_string())).unwrap_or_else(|| DEFAULT_HOST.to_owned());
        Host { name, address, port }
    };
    Ok(ports.into_iter().enumerate().map(read_one).collect())
}

fn entries(list: &Value) -> Vec<String> {
    list.text.split(',').map(str::trim).map(str::to_owned).collect()
}

fn read_addresses(list: &Value) -> Result<Vec<Option<IpAddr>>, Error> {
    let read_one = |text: &String| match text.parse() {
        _ if text.is_empty() => Ok(None),
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(list.invalid("an IP address")),
    };
    entries(list).iter().map(read_one).collect()
}

/// A port for each of so many hosts; one alone is for all.
fn read_ports(list: &Value, count: usize) -> Result<Vec<u16>, Error> {
    let ports = entries(list).iter().map(|text| read_port(list, text)).collect::<Result<Vec<u16>, Error>>()?;
    match ports[..] {
        [port] => Ok(vec![port; count]),
        _ if ports.len() == count => Ok(ports),
        _ => Err(list.invalid("one for all hosts or one for each")),
    }
}

fn read_port(list: &Value, text: &str) -> Result<u16, Error> {
    match text.parse() {
        _ if text.is_empty() => Ok(DEFAULT_PORT),
        Ok(0) | Err(_) => Err(list.invalid("a number from 1 to 65535")),
        Ok(port) => Ok(port),
    }
}
