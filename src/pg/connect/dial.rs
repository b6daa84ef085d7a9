//! The way to the server: a socket, found by name or path, and encrypted where that is asked for.

use crate::error::{Error, Peer};
use crate::pg::connect::config::Host;
use crate::pg::connect::socket::Socket;
use crate::pg::connect::tls::Secure;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{timeout, Instant};

/// The way to a server, after names were resolved: what a cancel request must go again.
#[derive(Clone, Debug)]
pub(in crate::pg) struct Route {
    endpoint: Endpoint,
    secure: Option<Secure>,
}

#[derive(Clone, Debug)]
enum Endpoint {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

impl Route {
    pub fn peer(&self) -> Peer {
        match &self.endpoint {
            Endpoint::Tcp(address) => Peer { address: address.ip().to_string(), port: Some(address.port()) },
            #[cfg(unix)]
            Endpoint::Unix(path) => Peer { address: path.display().to_string(), port: None },
        }
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Socket, Error> {
        let reached = self.reach().await?;
        self.secure(reached).await
    }

    /// Connects, in plain text yet.
    async fn reach(&self) -> Result<Reached, Error> {
        let reached = match &self.endpoint {
            Endpoint::Tcp(address) => TcpStream::connect(address).await.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(Reached::Tcp(stream))
            }),
            #[cfg(unix)]
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Reached::Unix),
        };
        reached.map_err(|error| Error::system(&error, Some(self.peer())))
    }

    /// Encrypts what was reached, if it is to be.
    async fn secure(&self, reached: Reached) -> Result<Socket, Error> {
        match (reached, &self.secure) {
            (Reached::Tcp(stream), Some(secure)) => {
                secure.connect(stream).await.map(Socket::from).map_err(|error| error.at(&self.peer()))
            }
            (Reached::Tcp(stream), None) => Ok(Socket::from(stream)),
            #[cfg(unix)]
            (Reached::Unix(stream), _) => Ok(Socket::from(stream)),
        }
    }
}

enum Reached {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Connects to the first address of the host that answers, and leaves each of them its part of the time.
///
/// # Errors
/// `ENOTFOUND` where the name has no address; otherwise the system's code for the address tried last, or what is wrong with
/// TLS.
pub(in crate::pg) async fn connect(
    host: &Host,
    secure: Option<Secure>,
    deadline: Instant,
) -> Result<(Route, Socket), Error> {
    let mut failure = None;
    let endpoints = resolve(host).await?;
    let count = endpoints.len();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        let route = Route { endpoint, secure: secure.clone() };
        match timeout(part_of(deadline, count - index), route.reach()).await {
            Ok(Ok(reached)) => {
                let socket = route.secure(reached).await?;
                return Ok((route, socket));
            }
            Ok(Err(error)) => failure = Some(error),
            Err(_) => failure = Some(Error::new("ETIMEDOUT", "ETIMEDOUT: no connection in time").at(&route.peer())),
        }
    }
    Err(failure.unwrap_or_else(|| Error::new("ENOTFOUND", "the host name has no address")))
}

/// The first of so many equal parts of the time that is left.
pub(in crate::pg) fn part_of(deadline: Instant, parts: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left / u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
}

async fn resolve(host: &Host) -> Result<Vec<Endpoint>, Error> {
    #[cfg(unix)]
    if let Some(path) = host.socket() {
        return Ok(vec![Endpoint::Unix(path)]);
    }
    #[cfg(not(unix))]
    if host.socket().is_some() {
        return Err(Error::new("ERR_INVALID_CONNECTION_STRING", "unix sockets are not supported on this platform"));
    }
    if let Some(address) = host.address {
        return Ok(vec![Endpoint::Tcp(SocketAddr::new(address, host.port))]);
    }
    match tokio::net::lookup_host((host.name.as_str(), host.port)).await {
        Ok(found) => Ok(found.map(Endpoint::Tcp).collect()),
        Err(error) => Err(Error::new("ENOTFOUND", format!("ENOTFOUND {}: {error}", host.name)).at(&host.peer())),
    }
}
