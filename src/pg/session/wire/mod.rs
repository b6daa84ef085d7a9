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
mod pipeline;
mod silence;
mod state;
#[cfg(test)]
mod tests;

use crate::core::{Step, ThreadId};
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
pub(in crate::pg::session) use silence::Silence;
use silence::GRACE;
use socket2::Socket;
use state::State;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch, Notify};
use tokio::time::Instant;

/// How long after the last request the I/O thread looks again without being told of a new one.
const LINGER: Duration = Duration::from_secs(1);
/// How often the I/O thread looks whether a thread that attends has left something unread.
pub(in crate::pg::session) const LOOK: Duration = Duration::from_millis(10);
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

/// What the I/O thread has done, and has to do next.
pub(in crate::pg::session) struct Turn {
    /// There is more to be read.
    pub more: bool,
    /// There is more to be written.
    pub is_full: bool,
    /// A thread reads what arrives.
    pub is_attended: bool,
    /// When to look again.
    pub due: Option<Instant>,
    pub answered: Vec<Answered>,
    pub is_over: bool,
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
            batch::request(&rows, &backend.mark, |statement, parameters| {
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
        let (caller, answer) = oneshot::channel();
        let mut state = self.lock();
        if state.is_over {
            let _ = caller.send(Err(Fault::Lost(self.reason())));
        } else {
            self.ask_as(&mut state, statement, parameters, limit, Recipient::Caller(caller));
        }
        async move {
            let dropped = |_| Err(Fault::Lost(Error::new("ERR_INTERNAL", "BUG: an answer was thrown away")));
            answer.await.unwrap_or_else(dropped)
        }
    }

    fn ask_as(
        &self,
        state: &mut State,
        statement: Statement,
        parameters: &[Parameter],
        limit: Duration,
        to: Recipient,
    ) {
        let asked = Asked { at: Instant::now(), on: clock::now() };
        state.pipeline.ask(statement, parameters, asked, limit, to);
        state.write(&self.socket);
        if !std::mem::replace(&mut state.is_watched, true) || state.has_to_write() {
            self.changed.notify_one();
        }
    }

    /// How long ago that was asked for which the server has last shown that it is there.
    #[must_use]
    pub fn age_of_proof(&self) -> Duration {
        self.lock().age_of_proof()
    }

    /// Whether the session may be gone and another may have its locks, for all that the server has shown.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.lacks_proof(&self.lock())
    }

    /// How long the server may take for a sign of life now: no longer than the last one promises that the session is there, but
    /// as long as an answer needs that is on its way.
    pub(in crate::pg) fn time_for_proof(&self) -> Duration {
        let left = self.patience.promise.saturating_sub(self.age_of_proof());
        left.min(self.patience.answer).max(GRACE)
    }

    /// Asks for a sign of life, for [`Wire::prove`].
    pub fn begin_proof(&self) {
        self.ask_for_proof(&mut self.lock());
    }

    /// Finds out by the deadline whether the session is still there; for whoever cannot go on without knowing, on any thread.
    /// What has become of batches is returned.
    ///
    /// # Errors
    /// `ETIMEDOUT` or why else the connection is over, as it is from then on.
    pub fn prove(&self, deadline: std::time::Instant) -> (Vec<Answered>, Result<(), Error>) {
        let mut answered = Vec::new();
        loop {
            let mut state = self.lock();
            if state.is_over {
                return (answered, Err(self.reason()));
            }
            self.read(&mut state, false);
            self.hand_out(&mut state, &mut answered);
            if state.is_over {
                return (answered, Err(self.reason()));
            }
            if !self.lacks_proof(&state) {
                return (answered, Ok(()));
            }
            self.ask_for_proof(&mut state);
            if std::time::Instant::now() >= deadline {
                let reason = self.silent(state.age_of_proof());
                self.end(&mut state, &reason);
                return (answered, Err(reason));
            }
            drop(state);
            std::thread::sleep(Duration::from_millis(1));
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
        self.ended.borrow().clone().unwrap_or_else(closed)
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

    /// Reads what has arrived, as far as it may at a time; `is_told`: whoever reads is told again of what it leaves, so that it need
    /// not find the end.
    fn read(&self, state: &mut State, is_told: bool) -> Read {
        let mut room = [0; ROOM];
        let mut left = MOST_READ;
        while !state.is_over && left > 0 {
            match socket::receive(&self.socket, &mut state.tls, &mut room) {
                Ok(0) => self.end(state, &closed()),
                Ok(count) => {
                    left = left.saturating_sub(count);
                    let (received, goes_on) = state.pipeline.receive(&room[..count]);
                    state.proof = state.proof.max(received.latest.unwrap_or_default());
                    if received.is_answer {
                        state.progress = Instant::now();
                    }
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

    /// Whether the session may be gone and another may have its locks, for all that the server has shown.
    fn lacks_proof(&self, state: &State) -> bool {
        state.age_of_proof() > self.patience.promise
    }

    /// Asks for a sign of life, unless something is under way that will be one.
    fn ask_for_proof(&self, state: &mut State) {
        if state.is_over {
            return;
        }
        let now = clock::now();
        if state.pipeline.latest().is_none_or(|asked| now.saturating_sub(asked) > self.patience.promise) {
            self.ask_as(state, HEARTBEAT, &[], self.patience.answer, Recipient::Nobody);
        }
    }
}

/// For a thread that attends: see [`Attendance`].
impl Wire {
    /// The thread asks something; whether it is to attend, if it can be told when there is something to be read.
    #[must_use]
    pub fn wants_attendance(&self, asking: ThreadId) -> bool {
        let mut state = self.lock();
        let wants = self.change_attendance(&mut state, |attendance| attendance.wants(asking));
        wants && !state.is_over
    }

    /// From now on the thread is told when there is something to be read, and calls [`Wire::attend`] then.
    pub fn begin_attendance(&self, by: ThreadId) {
        self.change_attendance(&mut self.lock(), |attendance| attendance.begin(by));
    }

    /// The thread is not told any more.
    pub fn end_attendance(&self, by: ThreadId) {
        self.change_attendance(&mut self.lock(), |attendance| attendance.end(by));
    }

    /// Reads what has arrived: what has become of batches, and whether the thread goes on attending.
    #[must_use]
    pub fn attend(&self, by: ThreadId) -> (Vec<Answered>, bool) {
        let mut answered = Vec::new();
        let mut state = self.lock();
        if !state.attendance.is_by(by) {
            return (answered, false);
        }
        let read = self.read(&mut state, true);
        state.write(&self.socket);
        self.hand_out(&mut state, &mut answered);
        if read.more || state.has_to_write() || state.unwritable.is_some() {
            self.changed.notify_one();
        }
        (answered, !state.is_over)
    }

    /// Where nobody attends any more the I/O thread has to know at once.
    fn change_attendance<T>(&self, state: &mut State, change: impl FnOnce(&mut Attendance) -> T) -> T {
        let was_reliable = state.attendance.is_reliable();
        let result = change(&mut state.attendance);
        if was_reliable && !state.attendance.is_reliable() {
            self.changed.notify_one();
        }
        result
    }

    /// The connection's descriptor, for whoever is to be told when there is something to be read.
    #[cfg(unix)]
    #[must_use]
    pub fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.socket.as_fd()
    }
}

/// For the I/O thread.
impl Wire {
    /// Reads and writes what can be, and judges silence then; `is_told`: the I/O thread is woken by what arrives.
    pub(in crate::pg::session) fn turn(&self, is_told: bool, silence: &mut Silence) -> Turn {
        let mut answered = Vec::new();
        let mut state = self.lock();
        let read = self.read(&mut state, false);
        if read.any && !is_told {
            state.attendance.is_late();
        }
        state.write(&self.socket);
        if let (false, Some(reason)) = (read.more, state.unwritable.clone()) {
            self.end(&mut state, &reason);
        }
        self.hand_out(&mut state, &mut answered);
        let due = if read.more { None } else { self.next_look(&mut state, silence) };
        Turn {
            more: read.more && !state.is_over,
            is_full: state.has_to_write(),
            is_attended: state.attendance.is_reliable(),
            due,
            answered,
            is_over: state.is_over,
        }
    }

    /// When to look again, after all has been read that is there; ends the connection where the server is silent for too long.
    fn next_look(&self, state: &mut State, silence: &mut Silence) -> Option<Instant> {
        let now = Instant::now();
        let Some((asked, limit)) = state.pipeline.front() else {
            let due = Some(state.progress + LINGER).filter(|due| *due > now);
            state.is_watched = due.is_some();
            if due.is_none() {
                state.attendance = Attendance::Free;
            }
            return due;
        };
        let Some(due) = silence.end(asked.max(state.progress), limit, now) else {
            let reason = self.silent(limit);
            self.end(state, &reason);
            return None;
        };
        Some(if state.attendance.is_reliable() { due.min(now + LOOK) } else { due })
    }

    /// Tells what has become of batches.
    pub(in crate::pg::session) fn report(&self, answered: Vec<Answered>) {
        if let Some(report) = self.report.get().filter(|_| !answered.is_empty()) {
            report(answered);
        }
    }

    /// Until there is something to do of which the socket does not tell.
    pub(in crate::pg::session) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The socket, to be waited for.
    pub(in crate::pg::session) fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// Why a connection is over that nobody has given up.
pub(in crate::pg::session) fn closed() -> Error {
    Error::new("ECONNRESET", "the server closed the connection")
}
