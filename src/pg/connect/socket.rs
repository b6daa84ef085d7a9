//! A connected socket, read by the I/O thread or, on loan, by another reader.
//!
//! On loan the socket is not known to the I/O thread's event queue, so that what arrives does not wake it: the borrower reads
//! from a descriptor of its own and hands in what it has read. Writing stays here in either case. Invariant: there is one
//! reader at a time.

use crate::pg::connect::tls::{Encrypted, Encryption};
use bytes::{Buf, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A connected socket. To shut it down is to say goodbye and to wait until the server has closed its side: then the server
/// has done with the connection, be it a session whose locks are given up or a request to cancel.
pub(in crate::pg) struct Socket {
    stream: Stream,
    is_shut_down: bool,
    /// What the borrower has read, and who waits for it.
    handed_in: BytesMut,
    reader: Option<Waker>,
}

enum Stream {
    Tcp(TcpStream),
    /// Never lent: who borrows it could not read what it says.
    Tls(Box<Encrypted>),
    #[cfg(unix)]
    Unix(UnixStream),
    #[cfg(unix)]
    Lent(lent::Lent),
    /// Between two of the others, and after an exchange that failed.
    None,
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Socket {
        Socket::new(Stream::Tcp(stream))
    }
}

impl From<Encrypted> for Socket {
    fn from(stream: Encrypted) -> Socket {
        Socket::new(Stream::Tls(Box::new(stream)))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Socket {
        Socket::new(Stream::Unix(stream))
    }
}

impl Socket {
    fn new(stream: Stream) -> Socket {
        Socket { stream, is_shut_down: false, handed_in: BytesMut::new(), reader: None }
    }

    /// How it is encrypted, if it is.
    pub fn encryption(&self) -> Option<&Encryption> {
        match &self.stream {
            Stream::Tls(stream) => Some(stream.encryption()),
            _ => None,
        }
    }

    /// Lends the right to read: a descriptor for the borrower, who owns it. `None`: it cannot be lent.
    #[cfg(unix)]
    pub fn lend(&mut self) -> Option<std::os::fd::OwnedFd> {
        let (stream, descriptor) = match std::mem::replace(&mut self.stream, Stream::None) {
            Stream::Tcp(stream) => lent::Lent::tcp(stream)?,
            Stream::Unix(stream) => lent::Lent::unix(stream)?,
            other => {
                self.stream = other;
                return None;
            }
        };
        self.stream = Stream::Lent(stream);
        Some(descriptor)
    }

    /// Takes what the borrower has read. Nobody is woken: the caller reads it.
    pub fn hand_in(&mut self, bytes: &[u8]) {
        self.handed_in.extend_from_slice(bytes);
    }

    /// Ends the loan: nobody else reads any more. Must be called within the I/O thread's runtime.
    pub fn take_back(&mut self) {
        #[cfg(unix)]
        if let Stream::Lent(_) = self.stream {
            if let Stream::Lent(stream) = std::mem::replace(&mut self.stream, Stream::None) {
                self.stream = stream.take_back().unwrap_or(Stream::None);
            }
        }
        self.wake_reader();
    }

    /// Whether something has arrived that the borrower has not read yet.
    pub fn has_unread(&self) -> bool {
        match &self.stream {
            #[cfg(unix)]
            Stream::Lent(stream) => stream.has_unread(),
            _ => false,
        }
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for Socket {
    /// The borrower's descriptor would keep the connection, and the server its locks.
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Stream::Lent(stream) = &self.stream {
            stream.end();
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.handed_in.is_empty() {
            let count = buffer.remaining().min(self.handed_in.len());
            buffer.put_slice(&self.handed_in[..count]);
            self.handed_in.advance(count);
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Stream::Lent(_) => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Stream::None => Poll::Ready(Err(gone())),
        }
    }
}

impl AsyncWrite for Socket {
    /// On loan nobody is woken where there is no room: the caller tries again from time to time.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(unix)]
            Stream::Lent(stream) => stream.write(bytes),
            Stream::None => Poll::Ready(Err(gone())),
        }
    }

    /// What is written is on its way, but what is encrypted and waits for room.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut_down {
            match &mut self.stream {
                Stream::Tcp(stream) => ready!(Pin::new(stream).poll_shutdown(cx))?,
                Stream::Tls(stream) => ready!(Pin::new(stream).poll_shutdown(cx))?,
                #[cfg(unix)]
                Stream::Unix(stream) => ready!(Pin::new(stream).poll_shutdown(cx))?,
                #[cfg(unix)]
                Stream::Lent(stream) => stream.end_writing()?,
                Stream::None => return Poll::Ready(Err(gone())),
            }
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

#[cfg(unix)]
mod lent {
    use super::Stream;
    use socket2::SockRef;
    use std::io::{self, Write};
    use std::mem::MaybeUninit;
    use std::net::Shutdown;
    use std::os::fd::{AsFd, OwnedFd};
    use std::task::Poll;

    /// A socket that somebody else reads.
    pub enum Lent {
        Tcp(std::net::TcpStream),
        Unix(std::os::unix::net::UnixStream),
    }

    impl Lent {
        pub fn tcp(stream: tokio::net::TcpStream) -> Option<(Lent, OwnedFd)> {
            let stream = stream.into_std().ok()?;
            let copy = stream.as_fd().try_clone_to_owned().ok()?;
            Some((Lent::Tcp(stream), copy))
        }

        pub fn unix(stream: tokio::net::UnixStream) -> Option<(Lent, OwnedFd)> {
            let stream = stream.into_std().ok()?;
            let copy = stream.as_fd().try_clone_to_owned().ok()?;
            Some((Lent::Unix(stream), copy))
        }

        pub fn take_back(self) -> io::Result<Stream> {
            match self {
                Lent::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(Stream::Tcp),
                Lent::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Stream::Unix),
            }
        }

        pub fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let written = match self {
                Lent::Tcp(stream) => stream.write(bytes),
                Lent::Unix(stream) => stream.write(bytes),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                written => Poll::Ready(written),
            }
        }

        pub fn has_unread(&self) -> bool {
            let mut byte = [MaybeUninit::uninit()];
            self.with(|socket| socket.peek(&mut byte)).is_ok()
        }

        pub fn end_writing(&self) -> io::Result<()> {
            self.with(|socket| socket.shutdown(Shutdown::Write))
        }

        /// For the borrower as well.
        pub fn end(&self) {
            // It may have ended already.
            let _ = self.with(|socket| socket.shutdown(Shutdown::Both));
        }

        fn with<T>(&self, use_socket: impl FnOnce(SockRef<'_>) -> T) -> T {
            match self {
                Lent::Tcp(stream) => use_socket(SockRef::from(stream)),
                Lent::Unix(stream) => use_socket(SockRef::from(stream)),
            }
        }
    }
}
