//! The connection of a session, as its two users see it: `tokio_postgres`, for which it is a socket, and whoever sends batches.
//!
//! A batch is written by the thread that calls, without waking another one. What the server answers is read by the I/O
//! thread, on behalf of `tokio_postgres`, or handed in by who has borrowed the socket; in either case a batch is
//! answered by who has read the answer. No lock is held meanwhile.

use crate::core::Step;
use crate::notice;
use crate::pg::connect::socket::Socket;
use crate::pg::session::batch::{Answered, BatchId};
use crate::pg::session::exchange::Exchange;
use crate::pg::session::steps::describe;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{ready, Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

type Report = Box<dyn Fn(Vec<Answered>) + Send + Sync>;

/// The way to send batches on a session's connection.
pub struct Lane {
    state: Mutex<State>,
    /// The backend that alone does what is asked.
    pid: OnceLock<i32>,
    report: OnceLock<Report>,
    runtime: Handle,
}

struct State {
    exchange: Exchange,
    /// `None` once the client has dropped it.
    socket: Option<Socket>,
    /// Who reads and writes on behalf of the client.
    client: Option<Waker>,
}

impl Lane {
    /// Of a connected socket. Must be called within the I/O thread's runtime.
    pub(in crate::pg) fn new(socket: Socket) -> (Arc<Lane>, LaneSocket) {
        let state = State { exchange: Exchange::new(), socket: Some(socket), client: None };
        let (pid, report) = (OnceLock::new(), OnceLock::new());
        let lane = Arc::new(Lane { state: Mutex::new(state), pid, report, runtime: Handle::current() });
        (Arc::clone(&lane), LaneSocket(lane))
    }

    /// From now on batches may be sent, to this backend.
    pub(in crate::pg) fn open(&self, pid: i32) {
        let _ = self.pid.set(pid);
    }

    /// What has become of batches is told to `report`, by the I/O thread where that has read it.
    pub fn on_answer(&self, report: impl Fn(Vec<Answered>) + Send + Sync + 'static) {
        let _ = self.report.set(Box::new(report));
    }

    /// Sends a batch of a few thousand steps at the most. Where the connection is over nothing is told of it; the end is.
    #[must_use]
    pub fn send(&self, steps: Vec<Step>) -> BatchId {
        let pid = self.pid.get().copied().unwrap_or(0);
        notice::trace(|| format!("backend {pid}: {}", describe(&steps)));
        let mut state = self.lock();
        let id = state.exchange.send(steps, pid);
        state.push();
        id
    }

    /// Writes what could not be written before.
    pub fn push(&self) {
        self.lock().push();
    }

    /// Lends the reading of the socket: a descriptor of its own for the borrower. `None`: this one cannot be lent.
    #[cfg(unix)]
    pub fn lend(&self) -> Option<std::os::fd::OwnedFd> {
        self.lock().socket.as_mut()?.lend()
    }

    /// Takes what the borrower has read; what has become of batches.
    pub fn hand_in(&self, bytes: &[u8]) -> Vec<Answered> {
        let mut state = self.lock();
        if let Some(socket) = &mut state.socket {
            socket.hand_in(bytes);
        }
        let mut answered = Vec::new();
        // Nothing is woken by this context, and need not be: who has borrowed the socket comes again.
        let _ = state.poll_hear(&mut Context::from_waker(Waker::noop()), usize::MAX, &mut answered);
        if !state.exchange.for_client.is_empty() {
            state.wake_client();
        }
        answered
    }

    /// Ends the loan.
    pub fn take_back(&self) {
        let _within = self.runtime.enter();
        let mut state = self.lock();
        if let Some(socket) = &mut state.socket {
            socket.take_back();
        }
        state.wake_client();
    }

    /// Whether the server has said something that the borrower has not read yet.
    pub fn has_unread(&self) -> bool {
        self.lock().socket.as_ref().is_some_and(Socket::has_unread)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes as much as there is room for; the client is to see to the rest, and to what fails.
    fn push(&mut self) {
        if !matches!(self.poll_push(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))) {
            self.wake_client();
        }
    }

    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
        while !self.exchange.out.is_empty() {
            let written = ready!(Pin::new(&mut *socket).poll_write(cx, &self.exchange.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let _ = self.exchange.out.split_to(written);
        }
        Pin::new(socket).poll_flush(cx)
    }

    /// Reads what is there, until there is as much for the client: `false` at the end.
    fn poll_hear(
        &mut self,
        cx: &mut Context<'_>,
        enough: usize,
        answered: &mut Vec<Answered>,
    ) -> Poll<io::Result<bool>> {
        let mut room = [0; 8192];
        while self.exchange.for_client.len() < enough {
            let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(false)) };
            let mut room = ReadBuf::new(&mut room);
            ready!(Pin::new(socket).poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.exchange.hear(room.filled(), answered);
        }
        Poll::Ready(Ok(true))
    }

    fn wake_client(&mut self) {
        if let Some(client) = self.client.take() {
            client.wake();
        }
    }
}

/// The same connection as `tokio_postgres` sees it: what is asked there is answered there.
pub(in crate::pg) struct LaneSocket(Arc<Lane>);

impl Drop for LaneSocket {
    fn drop(&mut self) {
        self.0.lock().socket = None;
    }
}

impl AsyncRead for LaneSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut answered = Vec::new();
        let heard = {
            let mut state = self.0.lock();
            state.client = Some(cx.waker().clone());
            let heard = state.poll_hear(cx, 1, &mut answered);
            let count = buffer.remaining().min(state.exchange.for_client.len());
            buffer.put_slice(&state.exchange.for_client.split_to(count));
            heard
        };
        if !answered.is_empty() {
            if let Some(report) = self.0.report.get() {
                report(answered);
            }
        }
        heard.map_ok(|_| ())
    }
}

impl AsyncWrite for LaneSocket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().exchange.say(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        state.client = Some(cx.waker().clone());
        state.poll_push(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        state.client = Some(cx.waker().clone());
        ready!(state.poll_push(cx))?;
        match &mut state.socket {
            Some(socket) => Pin::new(socket).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
