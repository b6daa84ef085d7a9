//! The way to the server: a socket, found by name or path.

use super::config::Address;
use crate::error::{Error, Peer};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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
                Ok(Stream::Tcp(stream))
            }),
            #[cfg(unix)]
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        };
        connected.map(Socket::from).map_err(|error| Error::system(&error, Some(self.peer())))
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

/// A connected socket. To shut it down is to say goodbye and to wait until the server has closed its side: then the server
/// has done with the connection, be it a session whose locks are given up or a request to cancel.
pub(super) struct Socket {
    stream: Stream,
    is_shut_down: bool,
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Socket {
        Socket { stream, is_shut_down: false }
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.stream {
            Stream::Tcp($stream) => $call,
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
