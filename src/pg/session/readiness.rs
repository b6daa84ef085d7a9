//! How the I/O thread is told that a socket is ready: from the moment that this is made until it is dropped.

use socket2::Socket;
use std::io;
use tokio::io::Interest;

/// What tells the I/O thread that a socket is ready.
#[cfg(unix)]
pub(super) struct Readiness<'a>(tokio::io::unix::AsyncFd<std::os::fd::BorrowedFd<'a>>);

#[cfg(unix)]
impl<'a> Readiness<'a> {
    /// # Errors
    /// The system watches no more sockets.
    pub fn new(socket: &'a Socket) -> io::Result<Readiness<'a>> {
        use std::os::fd::AsFd;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: while the descriptor is borrowed, which is for longer than this lives, it stays open and the socket's.
        let watched = unsafe { tokio::io::unix::AsyncFd::register_with_interest(socket.as_fd(), interest) };
        watched.map(Readiness).map_err(io::Error::from)
    }
}

/// What tells the I/O thread that a socket is ready.
#[cfg(not(unix))]
pub(super) struct Readiness<'a>(tokio::net::TcpStream, std::marker::PhantomData<&'a Socket>);

#[cfg(not(unix))]
impl<'a> Readiness<'a> {
    /// # Errors
    /// The system watches no more sockets.
    pub fn new(socket: &'a Socket) -> io::Result<Readiness<'a>> {
        let stream = tokio::net::TcpStream::from_std(socket.try_clone()?.into())?;
        Ok(Readiness(stream, std::marker::PhantomData))
    }
}

impl Readiness<'_> {
    /// Until there is something to read, or room to write. Either may be gone by the time that somebody tries.
    pub async fn wait(&self, interest: Interest) -> io::Result<()> {
        self.0.ready(interest).await.map(drop)
    }

    /// Says that the socket was found not to be ready, so that [`Readiness::wait`] waits again.
    pub fn clear(&self, interest: Interest) {
        #[cfg(unix)]
        let _ = self.0.try_io(interest, |_| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        #[cfg(not(unix))]
        let _ = self.0.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}
