//! An encrypted connection as the layers above see it.

use super::failure;
use crate::pg::connect::{Socket, Wire};
use std::convert::Infallible;
use std::future::{ready, Ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::client;

/// What is known of the encryption of a connection.
#[derive(Clone, Debug)]
pub(in crate::pg) struct Facts {
    /// The protocol's version, to be read.
    #[allow(dead_code)]
    pub version: &'static str,
    /// What ties the proof of a password to this connection; `None` where the certificate's kind has no such thing.
    pub end_point: Option<Vec<u8>>,
}

/// Bytes through TLS. Failures are told in this crate's words.
pub(super) struct Encrypted(pub client::TlsStream<Box<dyn Wire>>);

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer).map(|read| match read {
            // PostgreSQL's messages tell their own length: what ends early is noticed without TLS saying so.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            read => read.map_err(failure::within_io),
        })
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes).map_err(failure::within_io)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(failure::within_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Tells `tokio_postgres` that nothing of TLS is left to be done: the socket is encrypted already, or is not to be.
pub(in crate::pg) struct Established;

impl TlsConnect<Socket> for Established {
    type Stream = Socket;
    type Error = Infallible;
    type Future = Ready<Result<Socket, Infallible>>;

    fn connect(self, socket: Socket) -> Self::Future {
        ready(Ok(socket))
    }
}

impl TlsStream for Socket {
    fn channel_binding(&self) -> ChannelBinding {
        let end_point = self.encryption().and_then(|facts| facts.end_point.clone());
        end_point.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}
