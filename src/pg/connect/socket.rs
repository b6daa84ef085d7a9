//! A connected socket: plain or encrypted, over TCP or in the file system.
//!
//! Reading and writing never wait. Only the I/O thread waits, for the socket to be ready.

use crate::pg::connect::tls::{Encrypted, Encryption};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A connected socket.
pub(in crate::pg) struct Socket {
    pub stream: Stream,
    /// What encrypts, if anything does.
    pub tls: Option<Box<Encrypted>>,
}

/// What the bytes go through.
pub(in crate::pg) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Socket {
        Socket { stream: Stream::Tcp(stream), tls: None }
    }
}

impl From<(TcpStream, Encrypted)> for Socket {
    fn from((stream, tls): (TcpStream, Encrypted)) -> Socket {
        Socket { stream: Stream::Tcp(stream), tls: Some(Box::new(tls)) }
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Socket {
        Socket { stream: Stream::Unix(stream), tls: None }
    }
}

impl Stream {
    /// The socket by itself, for which nobody waits any more.
    pub fn detach(self) -> io::Result<socket2::Socket> {
        Ok(match self {
            Stream::Tcp(stream) => stream.into_std()?.into(),
            #[cfg(unix)]
            Stream::Unix(stream) => std::os::fd::OwnedFd::from(stream.into_std()?).into(),
        })
    }

    /// Says that the stream was found not to be ready, so that it is waited for again.
    fn is_not_ready(&self, interest: Interest) {
        let found = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = match self {
            Stream::Tcp(stream) => stream.try_io(interest, found),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.try_io(interest, found),
        };
    }

    fn poll_ready(&self, cx: &mut Context<'_>, is_read: bool) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) if is_read => stream.poll_read_ready(cx),
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            #[cfg(unix)]
            Stream::Unix(stream) if is_read => stream.poll_read_ready(cx),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Ends the writing: the other side sees that nothing more comes.
    fn end_writing(&self) -> io::Result<()> {
        self.raw().shutdown(Shutdown::Write)
    }

    fn raw(&self) -> SockRef<'_> {
        match self {
            Stream::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Stream::Unix(stream) => SockRef::from(stream),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        (&*self.raw()).read(room)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.raw()).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket on which no signal interrupts reading and writing.
struct Uninterrupted<'a, S>(&'a S);

impl<'a, S> Read for Uninterrupted<'a, S>
where
    &'a S: Read,
{
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut socket = self.0;
        uninterrupted(|| socket.read(room))
    }
}

impl<'a, S> Write for Uninterrupted<'a, S>
where
    &'a S: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self.0;
        uninterrupted(|| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn uninterrupted<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Reads what has arrived: nothing at the end, [`io::ErrorKind::WouldBlock`] where nothing is there.
pub(in crate::pg) fn receive<'a, S>(
    socket: &'a S,
    tls: &mut Option<Box<Encrypted>>,
    room: &mut [u8],
) -> io::Result<usize>
where
    &'a S: Read,
{
    let mut socket = Uninterrupted(socket);
    match tls {
        Some(tls) => tls.receive(&mut socket, room),
        None => socket.read(room),
    }
}

/// Writes as much as there is room for, or [`io::ErrorKind::WouldBlock`]; how much was taken. What was taken and encrypted may
/// still have to be flushed.
pub(in crate::pg) fn send<'a, S>(socket: &'a S, tls: &mut Option<Box<Encrypted>>, bytes: &[u8]) -> io::Result<usize>
where
    &'a S: Write,
{
    let mut socket = Uninterrupted(socket);
    match tls {
        Some(tls) => tls.send(&mut socket, bytes),
        None => socket.write(bytes),
    }
}

/// Writes what was taken before.
pub(in crate::pg) fn flush<'a, S>(socket: &'a S, tls: &mut Option<Box<Encrypted>>) -> io::Result<()>
where
    &'a S: Write,
{
    tls.as_mut().map_or(Ok(()), |tls| tls.flush(&mut Uninterrupted(socket)))
}

impl Socket {
    /// How it is encrypted, if it is.
    pub fn encryption(&self) -> Option<&Encryption> {
        self.tls.as_ref().map(|tls| tls.encryption())
    }

    /// Tries until it is neither too early nor too late.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        is_read: bool,
        mut attempt: impl FnMut(&Stream, &mut Option<Box<Encrypted>>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match attempt(&self.stream, &mut self.tls) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.is_not_ready(if is_read { Interest::READABLE } else { Interest::WRITABLE });
                    ready!(self.stream.poll_ready(cx, is_read))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buffer.initialize_unfilled();
        let count = ready!(self.poll(cx, true, |stream, tls| receive(stream, tls, room)))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, false, |stream, tls| send(stream, tls, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, false, |stream, tls| flush(stream, tls))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(self.stream.end_writing())
    }
}
