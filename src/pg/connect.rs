//! The way to the server: a socket, found by name or path, and encrypted where that is asked for.

use super::config::Host;
use super::tls::{Encrypted, Encryption, Secure};
use crate::error::{Error, Peer};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{timeout, Instant};

/// The way to a server, after names were resolved: what a cancel request must go again.
#[derive(Clone, Debug)]
pub(super) struct Route {
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
    async fn reach(&self) -> Result<Stream, Error> {
        let reached = match &self.endpoint {
            Endpoint::Tcp(address) => TcpStream::connect(address).await.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }),
            #[cfg(unix)]
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        };
        reached.map_err(|error| Error::system(&error, Some(self.peer())))
    }

    /// Encrypts what was reached, if it is to be.
    async fn secure(&self, reached: Stream) -> Result<Socket, Error> {
        let stream = match (reached, &self.secure) {
            (Stream::Tcp(stream), Some(secure)) => {
                let encrypted = secure.connect(stream).await.map_err(|error| error.at(&self.peer()))?;
                Stream::Tls(Box::new(encrypted))
            }
            (reached, _) => reached,
        };
        Ok(Socket::from(stream))
    }
}

/// Connects to the first address of the host that answers, and leaves each of them its part of the time.
///
/// # Errors
/// `ENOTFOUND` where the name has no address; otherwise the system's code for the address tried last, or what is wrong with
/// TLS.
pub(super) async fn connect(host: &Host, secure: Option<Secure>, deadline: Instant) -> Result<(Route, Socket), Error> {
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
pub(super) fn part_of(deadline: Instant, parts: usize) -> Duration {
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

/// A connected socket. To shut it down is to say goodbye and to wait until the server has closed its side: then the server
/// has done with the connection, be it a session whose locks are given up or a request to cancel.
pub(super) struct Socket {
    stream: Stream,
    is_shut_down: bool,
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<Encrypted>),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Socket {
        Socket { stream, is_shut_down: false }
    }
}

impl Socket {
    /// How it is encrypted, if it is.
    pub fn encryption(&self) -> Option<&Encryption> {
        match &self.stream {
            Stream::Tls(stream) => Some(stream.encryption()),
            _ => None,
        }
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.stream {
            Stream::Tcp($stream) => $call,
            Stream::Tls($stream) => $call,
            #[cfg(unix)]
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut_down {
            ready!(delegate!(self, stream => Pin::new(stream).poll_shutdown(cx)))?;
            self.is_shut_down = true;
        }
        loop {
            let mut rest = [0; 256];
            let mut rest = ReadBuf::new(&mut rest);
            match ready!(self.as_mut().poll_read(cx, &mut rest)) {
                // A reset is an end as well.
                Ok(()) if rest.filled().is_empty() => return Poll::Ready(Ok(())),
                Err(_) => return Poll::Ready(Ok(())),
                Ok(()) => {}
            }
        }
    }
}
