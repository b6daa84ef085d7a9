//! The socket as `tokio_postgres` sees it while it starts a session: up to the message that ends the start, and no further.
//!
//! Invariant: what comes after that message is left in the kernel, for whoever speaks on the socket then.

use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Type and length (manual, section 54.7): the length counts itself.
const HEADER: usize = 5;
const LENGTH: usize = 4;
const READY_FOR_QUERY: u8 = b'Z';

/// A socket on which a session is being started.
pub(in crate::pg) struct Opening<'a, S> {
    socket: &'a mut S,
    header: [u8; HEADER],
    /// How much of the header has been read.
    known: usize,
    /// How much of the header has been handed on.
    handed_on: usize,
    /// How much of the message's body is still to come.
    rest: usize,
}

impl<'a, S> Opening<'a, S> {
    /// On a socket on which nothing has been said.
    pub fn new(socket: &'a mut S) -> Opening<'a, S> {
        Opening { socket, header: [0; HEADER], known: 0, handed_on: 0, rest: 0 }
    }

    fn is_over(&self) -> bool {
        self.known == HEADER && self.handed_on == HEADER && self.rest == 0 && self.header[0] == READY_FOR_QUERY
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_over() {
            return Poll::Pending;
        }
        if this.handed_on == HEADER && this.rest == 0 {
            (this.known, this.handed_on) = (0, 0);
        }
        while this.known < HEADER {
            let mut room = ReadBuf::new(&mut this.header[this.known..]);
            ready!(Pin::new(&mut *this.socket).poll_read(cx, &mut room))?;
            let count = room.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            this.known += count;
            if this.known == HEADER {
                let [_, length @ ..] = this.header;
                // What is no length is for tokio_postgres to refuse.
                this.rest = (u32::from_be_bytes(length) as usize).saturating_sub(LENGTH);
            }
        }
        if this.handed_on < HEADER {
            let count = buffer.remaining().min(HEADER - this.handed_on);
            buffer.put_slice(&this.header[this.handed_on..this.handed_on + count]);
            this.handed_on += count;
            return Poll::Ready(Ok(()));
        }
        let count = buffer.remaining().min(this.rest);
        let mut room = ReadBuf::new(buffer.initialize_unfilled_to(count));
        ready!(Pin::new(&mut *this.socket).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        buffer.advance(count);
        this.rest -= count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_shutdown(cx)
    }
}
