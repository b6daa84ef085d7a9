//! The way to the server: a socket, found by name or path.

use super::config::Address;
use super::socket::Socket;
use crate::error::{Error, Peer};
use std::net::SocketAddr;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Where a socket leads, after names were resolved: what a cancel request must reach again.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

impl Endpoint {
    pub fn peer(&self) -> Peer {
        match self {
            Endpoint::Tcp(address) => Peer { address: address.ip().to_string(), port: Some(address.port()) },
            #[cfg(unix)]
            Endpoint::Unix(path) => Peer { address: path.display().to_string(), port: None },
        }
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Socket, Error> {
        let connected = match self {
            Endpoint::Tcp(address) => TcpStream::connect(address).await.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(Socket::from(stream))
            }),
            #[cfg(unix)]
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Socket::from),
        };
        connected.map_err(|error| Error::system(&error, Some(self.peer())))
    }
}

/// Connects to the first address that answers.
///
/// # Errors
/// `ENOTFOUND` where the name has no address; otherwise the system's code for the address tried last.
pub(super) async fn connect(address: &Address) -> Result<(Endpoint, Socket), Error> {
    let mut failure = None;
    for endpoint in resolve(address).await? {
        match endpoint.connect().await {
            Ok(socket) => return Ok((endpoint, socket)),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::new("ENOTFOUND", "the host name has no address")))
}

async fn resolve(address: &Address) -> Result<Vec<Endpoint>, Error> {
    match address {
        #[cfg(unix)]
        Address::Unix { path } => Ok(vec![Endpoint::Unix(path.clone())]),
        #[cfg(not(unix))]
        Address::Unix { .. } => {
            Err(Error::new("ERR_INVALID_CONNECTION_STRING", "unix sockets are not supported on this platform"))
        }
        Address::Tcp { host, port } => match tokio::net::lookup_host((host.as_str(), *port)).await {
            Ok(found) => Ok(found.map(Endpoint::Tcp).collect()),
            Err(error) => {
                let peer = Peer { address: host.clone(), port: Some(*port) };
                Err(Error::new("ENOTFOUND", format!("ENOTFOUND {host}: {error}")).at(&peer))
            }
        },
    }
}
