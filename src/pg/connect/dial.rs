//! The way to the server: a socket, found by name or path, and encrypted where that is asked for.
//!
//! A name may have addresses behind which nobody is: each next one is tried beside those that have not answered yet
//! (RFC 8305, "Happy Eyeballs"), and the first connection wins.

use crate::error::{Error, Peer};
use crate::pg::connect::config::Host;
#[cfg(unix)]
use crate::pg::connect::peer_owner;
use crate::pg::connect::resolve::resolve;
use crate::pg::connect::socket::Socket;
use crate::pg::connect::tls::Secure;
use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, Instant};

/// How long an address is waited for before the next one is tried beside it (RFC 8305, section 8).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// An idle connection says something from time to time: whoever keeps a table of connections on the way, as NAT does, would
/// forget it otherwise; and one that is dead is noticed before it is needed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_COUNT: u32 = 3;

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
    Unix {
        path: std::path::PathBuf,
        /// The operating system's user who has to run the server.
        owner: Option<String>,
    },
}

impl Route {
    pub fn peer(&self) -> Peer {
        match &self.endpoint {
            Endpoint::Tcp(address) => Peer { address: address.ip().to_string(), port: Some(address.port()) },
            #[cfg(unix)]
            Endpoint::Unix { path, .. } => Peer { address: path.display().to_string(), port: None },
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
                keep_alive(&stream);
                Ok(Reached::Tcp(stream))
            }),
            #[cfg(unix)]
            Endpoint::Unix { path, owner } => match (UnixStream::connect(path).await, owner) {
                (Ok(stream), Some(owner)) => {
                    peer_owner::check(&stream, owner).map_err(|error| error.at(&self.peer()))?;
                    Ok(Reached::Unix(stream))
                }
                (connected, _) => connected.map(Reached::Unix),
            },
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

fn keep_alive(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_COUNT);
    // A platform that cannot do it has a connection all the same.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Connects to the address of the host that answers first. `owner`: who has to run the server at a unix socket.
///
/// # Errors
/// `ENOTFOUND` where the name has no address; otherwise the system's code for the last of the addresses, `ETIMEDOUT` for the
/// first that has not answered by `deadline`, `ERR_WRONG_SERVER` for another owner, or what is wrong with TLS.
///
/// # Cancel safety
/// Dropping the future closes every socket.
pub(in crate::pg) async fn connect(
    host: &Host,
    secure: Option<Secure>,
    owner: Option<&str>,
    deadline: Instant,
) -> Result<(Route, Socket), Error> {
    let routes = routes(host, secure, owner).await?;
    let (route, reached) = race(&routes, deadline).await?;
    let socket = route.secure(reached).await?;
    Ok((route, socket))
}

/// The first of these that leads anywhere. The others are closed.
async fn race(routes: &[Route], deadline: Instant) -> Result<(Route, Reached), Error> {
    let mut attempts = JoinSet::new();
    let mut outcomes: Vec<Option<Error>> = Vec::new();
    let mut next_at = Instant::now();
    loop {
        let rest = &routes[outcomes.len()..];
        tokio::select! {
            biased;
            Some(attempt) = attempts.join_next() => match attempt {
                Ok((route, _, Ok(reached))) => return Ok((route, reached)),
                Ok((_, index, Err(error))) => {
                    outcomes[index] = Some(error);
                    next_at = Instant::now();
                }
                Err(_) => return Err(Error::new("ERR_INTERNAL", "BUG: what connects has panicked")),
            },
            () = sleep_until(next_at), if !rest.is_empty() => {
                let (route, index) = (rest[0].clone(), outcomes.len());
                outcomes.push(None);
                attempts.spawn(async move {
                    let reached = route.reach().await;
                    (route, index, reached)
                });
                next_at = Instant::now() + NEXT_ADDRESS_AFTER;
            }
            () = sleep_until(deadline) => {
                let silent = outcomes.iter().position(Option::is_none).unwrap_or(0);
                return Err(Error::new("ETIMEDOUT", "ETIMEDOUT: no connection in time").at(&routes[silent].peer()));
            }
        }
        if outcomes.len() == routes.len() && outcomes.iter().all(Option::is_some) {
            return Err(outcomes.pop().flatten().expect("BUG: a name without addresses is an error before"));
        }
    }
}

async fn routes(host: &Host, secure: Option<Secure>, owner: Option<&str>) -> Result<Vec<Route>, Error> {
    #[cfg(unix)]
    if let Some(path) = host.socket() {
        let owner = owner.map(str::to_owned);
        return Ok(vec![Route { endpoint: Endpoint::Unix { path, owner }, secure }]);
    }
    #[cfg(not(unix))]
    if host.socket().is_some() {
        return Err(Error::new("ERR_INVALID_CONNECTION_STRING", "unix sockets are not supported on this platform"));
    }
    let addresses = resolve(host).await?.into_iter();
    Ok(addresses.map(|address| Route { endpoint: Endpoint::Tcp(address), secure: secure.clone() }).collect())
}
