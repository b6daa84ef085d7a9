//! A session's connection, once it is started: this crate alone speaks on it.
//!
//! Whoever asks something writes it, without waking anybody. What has arrived lies in the kernel until somebody reads it under
//! the wire's lock, and the I/O thread can always be that somebody: it waits until there is something to be read, or room to
//! write what is left. It alone judges silence, and only after it has read what there is. A thread that alone asks may attend:
//! it reads what it is told of, so that the I/O thread need not be woken for each answer.
//!
//! An answer is a sign of life of the moment when it was *asked* for. Where the latest of those is too old to promise that
//! the session is still there, an answer is handed out only after another one has proved it: what was granted to a process
//! that stood still may have been given to the next meanwhile.

mod attendance;
mod attending;
mod pipeline;
mod proof;
pub(in crate::pg::session) mod silence;
mod state;
#[cfg(test)]
mod tests;
pub(in crate::pg::session) mod turn;

use crate::core::Step;
use crate::error::{Error, Peer};
use crate::notice;
use crate::pg::backend::Backend;
use crate::pg::clock;
use crate::pg::connect::socket;
use crate::pg::connect::tls::Encrypted;
use crate::pg::session::batch::{self, Answered, Batch, BatchId};
use crate::pg::session::call::{Answer, Parameter, Statement};
use crate::pg::session::steps::describe;
use crate::pg::{fault::Fault, sql};
use attendance::Attendance;
use pipeline::{Asked, Recipient};
pub(in crate::pg) use silence::Patience;
use socket2::Socket;
use state::State;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch, Notify};
use tokio::time::Instant;

/// So much is read at a time, before others get their turn.
const MOST_READ: usize = 1 << 17;
const ROOM: usize = 1 << 13;

/// The cheapest sign of life.
pub(in crate::pg) const HEARTBEAT: Statement = Statement { name: "heartbeat", text: sql::HEARTBEAT };
/// The goodbye (manual, section 54.7, "Terminate").
const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

type Report = Box<dyn Fn(Vec<Answered>) + Send + Sync>;

/// A session's connection.
pub struct Wire {
    socket: Socket,
    peer: Peer,
    patience: Patience,
    state: Mutex<State>,
    /// The backend that alone does what is asked.
    backend: OnceLock<Backend>,
    report: OnceLock<Report>,
    /// Something is to be written, or to be awaited, of which the I/O thread does not know.
    changed: Notify,
    ended: watch::Sender<Option<Error>>,
}

/// What has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    /// There was something.
    any: bool,
    /// There may be more.
    more: bool,
}

impl Wire {
    /// On a socket on which a session was started at `since`, by [`clock`].
    pub(in crate::pg::session) fn new(
        socket: Socket,
        tls: Option<Box<Encrypted>>,
        peer: Peer,
        patience: Patience,
        since: Duration,
    ) -> Wire {
        Wire {
            socket,
            peer,
            patience,
            state: Mutex::new(State::new(tls, since)),
            backend: OnceLock::new(),
            report: OnceLock::new(),
            changed: Notify::new(),
            ended: watch::Sender::new(None),
        }
    }

    /// Whether the server has answered something that it was asked within the last `time`.
    #[must_use]
    pub fn has_answered_within(&self, time: Duration) -> bool {
        self.lock().proof >= clock::now().saturating_sub(time)
    }

    /// Where the server is.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// From now on the server is asked to keep no statement.
    pub(in crate::pg) fn keep_no_statements(&self) {
        self.lock().pipeline.keeps_no_statements = true;
    }

    /// From now on batches may be sent, to this backend.
    pub(in crate::pg) fn open(&self, backend: Backend) {
        let _ = self.backend.set(backend);
    }

    /// What has become of batches is told to `report`, by the I/O thread where that has read it.
    pub fn on_answer(&self, report: impl Fn(Vec<Answered>) + Send + Sync + 'static) {
        let _ = self.report.set(Box::new(report));
    }

    /// Sends a batch of a few thousand steps at the most. Where the connection is over nothing is told of it; the end is.
    #[must_use]
    pub fn send(&self, steps: Vec<Step>) -> BatchId {
        let mut state = self.lock();
        state.batches += 1;
        let id = BatchId(state.batches);
        let backend = self.backend.get().expect("BUG: a batch is sent before the session is open");
        notice::trace(|| format!("backend {}: {}", backend.pid, describe(&steps)));
        if !state.is_over {
            let rows = batch::rows(&steps);
            batch::request(&rows, &backend.fingerprint, |statement, parameters| {
                let to = Recipient::Batch(Batch { id, steps });
                self.ask_as(&mut state, statement, parameters, self.patience.answer, to);
            });
        }
        id
    }

    /// Asks at once; the answer is awaited. The server may be silent for `limit` once it has got to this.
    ///
    /// # Cancel safety
    /// What was asked is done all the same.
    pub(in crate::pg) fn ask(
        &self,
        statement: Statement,
        parameters: &[Parameter],
        limit: Duration,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let [answer] = self.ask_all([(statement, parameters)], limit);
        answer
    }

    /// Asks one thing after the other, by one write: whoever stands between need not be woken for each.
    ///
    /// # Cancel safety
    /// What was asked is done all the same.
    pub(in crate::pg) fn ask_all<const N: usize>(
        &self,
        questions: [(Statement, &[Parameter]); N],
        limit: Duration,
    ) -> [impl Future<Output = Answer> + Send + use<N>; N] {
        let mut state = self.lock();
        let answers = questions.map(|(statement, parameters)| {
            let (caller, answer) = oneshot::channel();
            if state.is_over {
                let _ = caller.send(Err(Fault::Lost(self.reason())));
            } else {
                state.pipeline.ask(statement, parameters, asked_now(), limit, Recipient::Caller(caller));
            }
            async move {
                let dropped = |_| Err(Fault::Lost(Error::new("ERR_INTERNAL", "BUG: an answer was thrown away")));
                answer.await.unwrap_or_else(dropped)
            }
        });
        self.write_asked(&mut state);
        answers
    }

    fn ask_as(
        &self,
        state: &mut State,
        statement: Statement,
        parameters: &[Parameter],
        limit: Duration,
        to: Recipient,
    ) {
        state.pipeline.ask(statement, parameters, asked_now(), limit, to);
        self.write_asked(state);
    }

    fn write_asked(&self, state: &mut State) {
        state.write(&self.socket);
        if !std::mem::replace(&mut state.is_watched, true) || state.has_to_write() {
            self.changed.notify_one();
        }
    }

    /// Says goodbye.
    pub(in crate::pg) fn terminate(&self) {
        let mut state = self.lock();
        if !state.is_over {
            state.pipeline.out.extend_from_slice(&TERMINATE);
            state.write(&self.socket);
            // Whose threads are done with the session are told nothing of its end.
            state.attendance = Attendance::Shared;
            self.changed.notify_one();
        }
    }

    /// Until the connection is over: why.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(in crate::pg) async fn over(&self) -> Error {
        let mut ended = self.ended.subscribe();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(closed)
    }

    /// Why the connection is over, if it is.
    #[must_use]
    pub fn end_reason(&self) -> Option<Error> {
        self.ended.borrow().clone()
    }

    /// Ends the connection.
    pub fn give_up(&self, reason: &Error) {
        self.end(&mut self.lock(), reason);
    }

    /// Why a session is given up that has not answered for so long.
    pub(in crate::pg) fn silent(&self, limit: Duration) -> Error {
        let message = format!("ETIMEDOUT: the server has not answered for {} ms", limit.as_millis());
        Error::new("ETIMEDOUT", message).at(&self.peer)
    }

    fn reason(&self) -> Error {
        self.end_reason().unwrap_or_else(closed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, state: &mut State, reason: &Error) {
        if std::mem::replace(&mut state.is_over, true) {
            return;
        }
        // What is answered is answered, if it can be believed.
        let keeps_answers = !self.lacks_proof(state);
        state.pipeline.end(reason, keeps_answers);
        self.ended.send_replace(Some(reason.clone()));
        // It may have ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.changed.notify_one();
    }

    /// Reads what has arrived, as far as it may at a time; `is_told`: whoever reads is told again of what it leaves, so that it
    /// need not find the end.
    fn read(&self, state: &mut State, is_told: bool) -> Read {
        let mut room = [0; ROOM];
        let mut left = MOST_READ;
        while !state.is_over && left > 0 {
            match socket::receive(&self.socket, &mut state.tls, &mut room) {
                Ok(0) => self.end(state, &closed()),
                Ok(count) => {
                    left = left.saturating_sub(count);
                    let (received, goes_on) = state.pipeline.receive(&room[..count]);
                    state.note_answers(received);
                    if let Err(reason) = goes_on {
                        self.end(state, &reason);
                    }
                    // What is encrypted arrives in pieces of its own.
                    if is_told && state.tls.is_none() && count < ROOM {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.end(state, &Error::system(&error, None)),
            }
        }
        Read { any: left < MOST_READ, more: left == 0 && !state.is_over }
    }

    /// Hands out what is answered, where the session is proved to be there.
    fn hand_out(&self, state: &mut State, answered: &mut Vec<Answered>) {
        if !state.pipeline.has_answers() {
            return;
        }
        if self.lacks_proof(state) {
            self.ask_for_proof(state);
        } else {
            state.pipeline.hand_out(answered);
        }
    }
}

fn asked_now() -> Asked {
    Asked { at: Instant::now(), on: clock::now() }
}

/// Why a connection is over that nobody has given up.
pub(in crate::pg::session) fn closed() -> Error {
    Error::new("ECONNRESET", "the server closed the connection")
}
