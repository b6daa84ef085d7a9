//! The way to the server: a socket, found by name or path.

use super::config::Host;
use crate::error::{Error, Peer};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{timeout_at, Instant};

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
                Ok(Socket::new(stream))
            }),
            #[cfg(unix)]
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Socket::new),
        };
        connected.map_err(|error| Error::system(&error, Some(self.peer())))
    }
}

/// Connects to the first address of the host that answers, and leaves each of them its part of the time.
///
/// # Errors
/// `ENOTFOUND` where the name has no address; otherwise the system's code for the address tried last.
pub(super) async fn connect(host: &Host, deadline: Instant) -> Result<(Endpoint, Socket), Error> {
    let mut failure = None;
    let endpoints = resolve(host).await?;
    let count = endpoints.len();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        match timeout_at(part_of(deadline, count - index), endpoint.connect()).await {
            Ok(Ok(socket)) => return Ok((endpoint, socket)),
            Ok(Err(error)) => failure = Some(error),
            Err(_) => failure = Some(Error::new("ETIMEDOUT", "ETIMEDOUT: no connection in time").at(&endpoint.peer())),
        }
    }
    Err(failure.unwrap_or_else(|| Error::new("ENOTFOUND", "the host name has no address")))
}

/// The end of the first of so many equal parts of the time that is left.
pub(super) fn part_of(deadline: Instant, parts: usize) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    now + left / u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
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

/// What bytes go through.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// A connected socket. To shut it down is to say goodbye and to wait until the server has closed its side: then the server
/// has done with the connection, be it a session whose locks are given up or a request to cancel.
pub(super) struct Socket {
    wire: Box<dyn Wire>,
    is_shut_down: bool,
}

impl Socket {
    pub fn new(wire: impl Wire + 'static) -> Socket {
        Socket { wire: Box::new(wire), is_shut_down: false }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut_down {
            ready!(Pin::new(&mut self.wire).poll_shutdown(cx))?;
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
