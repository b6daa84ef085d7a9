//! A session's connection, once it is started: this crate alone speaks on it.
//!
//! Whoever asks something writes it, without waking anybody. What has arrived lies in the kernel until somebody reads it under
//! the wire's lock, and the I/O thread can always be that somebody: it waits until there is something to be read, or room to
//! write what is left. It alone judges silence, and only after it has read what there is.
//!
//! An answer is a sign of life of the moment when it was *asked* for. Where the latest of those is too old to promise that
//! the session is still there, an answer is handed out only after another one has proved it: what was granted to a process
//! that stood still may have been given to the next meanwhile.

mod pipeline;
#[cfg(test)]
mod tests;

use crate::core::Step;
use crate::error::{Error, Peer};
use crate::notice;
use crate::pg::backend::Backend;
use crate::pg::clock;
use crate::pg::connect::socket::{self, Socket, Stream};
use crate::pg::connect::tls::Encrypted;
use crate::pg::session::batch::{self, Answered, Batch, BatchId};
use crate::pg::session::call::{Answer, Parameter, Statement};
use crate::pg::session::steps::describe;
use crate::pg::{fault::Fault, sql};
use bytes::Buf;
use pipeline::{Asked, Pipeline, Recipient};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::{oneshot, watch, Notify};
use tokio::time::{sleep_until, Instant};

/// How long silence is borne.
#[derive(Clone, Copy, Debug)]
pub(in crate::pg) struct Patience {
    /// For how long an answer is waited.
    pub answer: Duration,
    /// For how long the last sign of life promises that the session is there: the server gives it up later.
    pub promise: Duration,
}

/// Once a process stands still its timers are late. Then what is on its way has this time to arrive, before silence is found.
const GRACE: Duration = Duration::from_millis(250);
/// A timer that comes so much too late comes after such a pause.
const LATE: Duration = Duration::from_millis(200);
/// How long after the last request the I/O thread looks again without being told of a new one.
const LINGER: Duration = Duration::from_secs(1);
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
    stream: Stream,
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

struct State {
    tls: Option<Box<Encrypted>>,
    pipeline: Pipeline,
    batches: u64,
    /// When that was asked, by [`clock`], which the server has answered last.
    proof: Duration,
    /// When the server last got on with what it was asked: it answered, or took what was to be written.
    progress: Instant,
    /// Whether something that was to be written has found no room.
    waits_for_room: bool,
    /// Why nothing can be written any more. What the server has said before is read all the same.
    unwritable: Option<Error>,
    /// Whether the I/O thread looks again without being told.
    is_watched: bool,
    is_over: bool,
}

/// What the I/O thread has to do after it has read and written.
struct Next {
    /// There is more to be read.
    more: bool,
    /// There is more to be written.
    is_full: bool,
    /// When to look again.
    due: Option<Instant>,
    answered: Vec<Answered>,
    is_over: bool,
}

impl Wire {
    /// On a socket on which a session was started at `since`, by [`clock`]. Must be called within the I/O thread's runtime.
    pub(in crate::pg) fn new(socket: Socket, peer: Peer, patience: Patience, since: Duration) -> (Arc<Wire>, Driver) {
        let Socket { stream, tls } = socket;
        let state = State {
            tls,
            pipeline: Pipeline::default(),
            batches: 0,
            proof: since,
            progress: Instant::now(),
            waits_for_room: false,
            unwritable: None,
            is_watched: true,
            is_over: false,
        };
        let wire = Arc::new(Wire {
            stream,
            peer,
            patience,
            state: Mutex::new(state),
            backend: OnceLock::new(),
            report: OnceLock::new(),
            changed: Notify::new(),
            ended: watch::Sender::new(None),
        });
        tokio::spawn(drive(Arc::clone(&wire)));
        (Arc::clone(&wire), Driver(wire))
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
            batch::request(&steps, &backend.mark, |statement, parameters| {
                let to = Recipient::Batch(Batch { id, steps: steps.clone() });
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
        state.write(&self.stream);
        if !std::mem::replace(&mut state.is_watched, true) || state.has_to_write() {
            self.changed.notify_one();
        }
    }

    /// How long ago that was asked for which the server has last shown that it is there.
    #[must_use]
    pub fn age_of_proof(&self) -> Duration {
        clock::now().saturating_sub(self.lock().proof)
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

    /// Finds out, within a moment, whether the session is still there; for whoever cannot go on without knowing, on any thread.
    /// What has become of batches is returned.
    ///
    /// # Errors
    /// `ETIMEDOUT` or why else the connection is over, as it is from then on.
    pub fn prove(&self) -> (Vec<Answered>, Result<(), Error>) {
        let deadline = std::time::Instant::now() + GRACE;
        let mut answered = Vec::new();
        loop {
            let mut state = self.lock();
            if state.is_over {
                return (answered, Err(self.reason()));
            }
            self.read(&mut state);
            self.hand_out(&mut state, &mut answered);
            if state.is_over {
                return (answered, Err(self.reason()));
            }
            if !self.lacks_proof(&state) {
                return (answered, Ok(()));
            }
            self.ask_for_proof(&mut state);
            if std::time::Instant::now() >= deadline {
                let reason = self.silent(clock::now().saturating_sub(state.proof));
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
            state.write(&self.stream);
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
    pub(in crate::pg) fn give_up(&self, reason: &Error) {
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
        self.stream.end();
        self.changed.notify_one();
    }

    /// Reads what has arrived, as far as it may at a time; whether there may be more.
    fn read(&self, state: &mut State) -> bool {
        let mut room = [0; ROOM];
        let mut left = MOST_READ;
        while !state.is_over && left > 0 {
            match socket::receive(&self.stream, &mut state.tls, &mut room) {
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
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => self.end(state, &Error::system(&error, None)),
            }
        }
        !state.is_over
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
        clock::now().saturating_sub(state.proof) > self.patience.promise
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

impl Wire {
    /// Reads and writes what can be, and judges silence then. On the I/O thread only.
    fn turn(&self, grace: &mut Option<Grace>) -> Next {
        let mut answered = Vec::new();
        let mut state = self.lock();
        let more = self.read(&mut state);
        if !more {
            self.stream.is_not_ready(Interest::READABLE);
        }
        state.write(&self.stream);
        let is_full = state.has_to_write();
        if is_full {
            self.stream.is_not_ready(Interest::WRITABLE);
        }
        if let (false, Some(reason)) = (more, state.unwritable.clone()) {
            self.end(&mut state, &reason);
        }
        self.hand_out(&mut state, &mut answered);
        let due = if more { None } else { self.next_look(&mut state, grace) };
        Next { more: more && !state.is_over, is_full, due, answered, is_over: state.is_over }
    }

    /// When to look again, after all has been read that is there; ends the connection where the server is silent for too long.
    fn next_look(&self, state: &mut State, grace: &mut Option<Grace>) -> Option<Instant> {
        let now = Instant::now();
        let Some((asked, limit)) = state.pipeline.front() else {
            let due = Some(state.progress + LINGER).filter(|due| *due > now);
            state.is_watched = due.is_some();
            return due;
        };
        let since = asked.max(state.progress);
        let due = since + limit;
        if now < due {
            return Some(due);
        }
        if grace.as_ref().is_none_or(|grace| grace.since != since) {
            *grace = Some(Grace { since, until: if now - due > LATE { now + GRACE } else { now } });
        }
        match grace {
            Some(Grace { until, .. }) if *until > now => Some(*until),
            _ => {
                let reason = self.silent(limit);
                self.end(state, &reason);
                None
            }
        }
    }
}

/// What is on its way after a pause of the process may arrive until then; `since`: when the silence began.
struct Grace {
    since: Instant,
    until: Instant,
}

impl State {
    /// Writes as much as there is room for.
    fn write(&mut self, stream: &Stream) {
        match self.try_write(stream) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.unwritable = Some(Error::system(&error, None));
                self.pipeline.out.clear();
            }
            _ => {}
        }
        self.waits_for_room = self.has_to_write();
    }

    fn try_write(&mut self, stream: &Stream) -> io::Result<()> {
        if self.unwritable.is_some() || self.is_over {
            return Ok(());
        }
        while !self.pipeline.out.is_empty() {
            let count = socket::send(stream, &mut self.tls, &self.pipeline.out)?;
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.pipeline.out.advance(count);
            self.note_room();
        }
        socket::flush(stream, &mut self.tls)?;
        self.note_room();
        Ok(())
    }

    /// Something was written. That tells of the server only where there had been no room: what is asked anew finds room for a long
    /// time after a link has died.
    fn note_room(&mut self) {
        if self.waits_for_room {
            self.progress = Instant::now();
        }
    }

    /// Whether there was no room for something.
    fn has_to_write(&self) -> bool {
        !self.is_over && (!self.pipeline.out.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_to_write()))
    }
}

/// Reads and writes whenever that is possible, until the connection is over.
async fn drive(wire: Arc<Wire>) {
    let wire = Driven(wire);
    let wire = &wire.0;
    let mut grace = None;
    loop {
        let next = wire.turn(&mut grace);
        if !next.answered.is_empty() {
            if let Some(report) = wire.report.get() {
                report(next.answered);
            }
        }
        if next.is_over {
            return;
        }
        if next.more {
            tokio::task::yield_now().await;
            continue;
        }
        let interest = if next.is_full { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        tokio::select! {
            ready = wire.stream.ready(interest) => {
                if let Err(error) = ready {
                    wire.give_up(&Error::system(&error, None));
                }
            }
            () = wire.changed.notified() => {}
            () = sleep_until(next.due.unwrap_or_else(Instant::now)), if next.due.is_some() => {}
        }
    }
}

/// A wire that somebody drives. If that ends by a bug, those who wait for answers are told.
struct Driven(Arc<Wire>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.give_up(&Error::new("ERR_INTERNAL", "BUG: what reads a session's answers has failed"));
    }
}

/// Ends the connection when it is dropped.
pub(in crate::pg) struct Driver(Arc<Wire>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.give_up(&closed());
    }
}

fn closed() -> Error {
    Error::new("ECONNRESET", "the server closed the connection")
}
