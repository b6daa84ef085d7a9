//! The sessions of one manager whose server is behind a transaction pooler: which there are, and which of them does what. It
//! knows neither callers nor owners.
//!
//! A key is held by a session of its own, which is *pinned*: its transaction stays open. A wait has no session: one that is not
//! pinned looks from time to time for all of them, and a key that looks free is tried. So a wait costs the pooler nothing between
//! two looks, and no wait can be in the way of a hold.
//!
//! Where there is a direct way to the server as well, locks are held there, and of all this only long waits are here (`looks`).
//!
//! Invariant: what the lock table or a caller has asked for is on a session or among the waits, or its report is in
//! [`Pooled::reports`].

mod job;
pub(super) mod look_task;
mod looks;
mod sessions;
mod slot;
pub(super) mod task;
#[cfg(test)]
mod tests;
mod waits;

use super::mailbox::Answer;
use super::report::{Report, Reports};
use super::slots::SessionSlot;
use crate::core::lock_table::{Event, Operation};
use crate::core::{Key, Mode, RequestId, SessionId, Step};
use crate::error::Error;
use crate::pg::{Seen, Wire};
use foldhash::HashSet;
use job::Job;
pub(super) use looks::Looks;
use sessions::Sessions;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use waits::{Cancelled, Waits};

/// So many sessions in a row may be lost at work before those are told who only wait.
const MOST_LOSSES: usize = 3;

/// So many keys are known to be taken, at the most, before their waits begin.
const MOST_TAKEN: usize = 1000;

pub(super) struct Pooled {
    pub sessions: Sessions,
    waits: Waits,
    /// A look is under way, or about to be.
    is_looking: bool,
    /// Tells the task that has looks made of changes; whether that is running, and whether it is to be started.
    changed: Arc<Notify>,
    is_ticking: bool,
    is_to_tick: bool,
    /// Keys that the server has just said are taken, of which a wait is about to begin.
    taken: HashSet<Key>,
    /// How many sessions in a row were lost at work.
    losses: usize,
    /// Why the last attempt to ask the server has failed, if it has.
    failure: Option<Error>,
    pub reports: Reports,
}

/// A connection that others have given up, or a limit of theirs, need not be met by the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    Passing,
    Lasting,
}

impl Pooled {
    /// `most`: the most sessions that may be pinned.
    pub fn new(most: usize) -> Pooled {
        Pooled {
            sessions: Sessions::new(most),
            waits: Waits::default(),
            is_looking: false,
            changed: Arc::new(Notify::new()),
            is_ticking: false,
            is_to_tick: false,
            taken: HashSet::default(),
            losses: 0,
            failure: None,
            reports: Reports::default(),
        }
    }

    pub fn route(&mut self, operation: Operation) {
        match operation {
            Operation::Do { step: Step::Try { key, mode }, home: None, patient } => self.route_try(key, mode, patient),
            Operation::Do { step, home: None, .. } => unreachable!("BUG: no session for {step:?}"),
            Operation::Do { step, home: Some(home), patient } => match step {
                Step::Try { key, mode } => self.push(home, Job::Upgrade { key, mode }),
                Step::Release { key, .. } => self.give_up(home, Job::Unpin { key }),
                Step::Requeue { key, mode, .. } => self.give_up(home, Job::Repin { key, mode, patient }),
                // What a transaction holds it holds to its end.
                Step::Downgrade { key, .. } => self.report(Event::Downgraded { key, done: false }, None),
            },
            Operation::Wait { key, mode, home } => {
                let is_taken = self.taken.remove(&key);
                self.waits.add(key, mode, home, is_taken, Instant::now());
                self.tick();
            }
            Operation::CancelWait { key } => {
                if self.waits.cancel(key) == Cancelled::Ended {
                    self.report(Event::WaitEnded { key }, None);
                }
            }
            Operation::Probe { key, .. } => self.ask(Job::Probe { key }),
            Operation::EndFence { .. } => unreachable!("BUG: a hold through a pooler has no fence"),
        }
    }

    fn route_try(&mut self, key: Key, mode: Mode, patient: bool) {
        if self.pin(key, mode, patient, false) {
            return;
        }
        if patient {
            // It waits for a session as it would for the key.
            self.report(Event::Denied { key }, None);
        } else {
            let cause = self.sessions.no_more();
            self.report(Event::AcquireFailed { key }, Some(&cause));
        }
    }

    /// Asks who holds the key or waits for it, for whoever has the ticket.
    pub fn ask_for_holders(&mut self, key: Key, ticket: RequestId) {
        self.ask(Job::Holders { key, ticket });
    }

    /// Asks the session that holds for a sign of life, for whoever has the ticket.
    pub fn verify(&mut self, home: SessionId, ticket: RequestId) {
        self.push(home, Job::Verify { ticket });
    }

    /// Why nobody can say whether a key is taken for which somebody waits; nothing where it is known to be. `is_taken`: what the lock
    /// table knows, which takes a lack of sessions for it. What other sessions answer says nothing: they have what this wait lacks.
    pub fn why_unanswered(&self, key: Key, is_taken: bool) -> Option<Option<Error>> {
        if self.waits.is_known_taken(key).unwrap_or(is_taken) {
            return None;
        }
        let no_session = || Some(self.sessions.no_more()).filter(|_| !self.sessions.may_pin());
        Some(self.failure.clone().or_else(no_session))
    }

    /// Gives up the sessions of which the last sign of life does not promise any more that their transactions go on, as the server
    /// ends one that is silent for long.
    pub fn check_liveness(&mut self, is_due: bool) {
        let holding = self.sessions.slots.iter().filter(|(_, slot)| slot.holds);
        let holding: Vec<(SessionId, Arc<Wire>)> =
            holding.filter_map(|(id, slot)| Some((id, Arc::clone(slot.wire()?)))).collect();
        for (id, wire) in holding {
            let (_, is_there) = wire.look();
            let silence = wire.age_of_proof();
            if let Err(cause) = is_there {
                self.lost(id, &cause);
            } else if is_due && wire.is_doubtful() {
                let message = format!("ETIMEDOUT: no sign of life of the transaction for {} ms", silence.as_millis());
                self.lost(id, &Error::new("ETIMEDOUT", message));
            }
        }
    }

    /// Whether the task is to be started that has looks made.
    pub fn take_tick(&mut self) -> bool {
        std::mem::take(&mut self.is_to_tick)
    }

    fn tick(&mut self) {
        if std::mem::replace(&mut self.is_ticking, true) {
            self.changed.notify_one();
        } else {
            self.is_to_tick = true;
        }
    }

    /// There is no thread for these sessions, and none for looks.
    pub fn not_started(&mut self, sessions: &[SessionId], cause: &Error) {
        self.is_ticking = false;
        sessions.iter().for_each(|&id| self.open_failed(id, cause));
        self.waits.keys().into_iter().for_each(|key| self.acquire_failed(key, cause, false));
    }

    /// Has those waits looked for that are due; how long to pause then, or `None` where there is no wait.
    fn look_round(&mut self) -> Option<Duration> {
        if self.waits.is_empty() {
            self.is_ticking = false;
            return None;
        }
        let now = Instant::now();
        for (key, mode, home) in self.waits.take_due_upgrades(now) {
            self.push(home, Job::Upgrade { key, mode });
        }
        if self.waits.is_due(now) && !self.is_looking && self.sessions.may_pin() {
            self.is_looking = true;
            self.ask(Job::Look);
        }
        Some(self.waits.pause(now))
    }

    /// Begins to hold a key on a session of its own, if there may be one more.
    fn pin(&mut self, key: Key, mode: Mode, patient: bool, takes_turn: bool) -> bool {
        let session = self.sessions.pin();
        if let Some(session) = session {
            self.push(session, Job::Pin { key, mode, patient, takes_turn });
        }
        session.is_some()
    }

    /// The session is not pinned any more: others may be.
    fn unpin(&mut self, id: SessionId) {
        if self.sessions.unpin(id) {
            self.changed.notify_one();
        }
    }

    /// Asks the server something by a session that is not pinned.
    fn ask(&mut self, job: Job) {
        let asker = self.sessions.find_asker();
        self.push(asker, job);
    }

    /// Has a session give up what it holds, of which nobody needs to hear any more.
    fn give_up(&mut self, session: SessionId, job: Job) {
        if let Some(slot) = self.sessions.slots.get_mut(session) {
            slot.holds = false;
        }
        self.push(session, job);
    }

    fn push(&mut self, session: SessionId, job: Job) {
        match self.sessions.slots.get_mut(session) {
            Some(slot) => slot.push(job),
            None => self.failed(job, &Error::new("ECONNRESET", "the session is gone"), Failure::Passing),
        }
    }

    fn opened(&mut self, id: SessionId, wire: &Arc<Wire>) {
        if let Some(slot) = self.sessions.slots.get_mut(id) {
            slot.opened(wire);
        }
    }

    /// The session could not be opened.
    fn open_failed(&mut self, id: SessionId, cause: &Error) {
        let is_passing = cause.is_lack_of_sessions() || self.sessions.slots.has_open();
        self.end(id, cause, if is_passing { Failure::Passing } else { Failure::Lasting });
    }

    /// The session is gone with what it holds.
    pub fn lost(&mut self, id: SessionId, cause: &Error) {
        if self.sessions.slots.contains(id) {
            self.report(Event::SessionLost { session: id }, Some(cause));
            // The next connection will tell whether this goes on.
            let is_at_work = self.sessions.slots.get(id).is_some_and(|slot| !slot.has_no_work());
            self.losses += usize::from(is_at_work && !cause.is_lack_of_sessions());
            let lasts = cause.is_transaction_pooling() || self.losses > MOST_LOSSES;
            self.end(id, cause, if lasts { Failure::Lasting } else { Failure::Passing });
        }
    }

    fn end(&mut self, id: SessionId, cause: &Error, failure: Failure) {
        self.unpin(id);
        let Some(slot) = self.sessions.remove(id) else { return };
        slot.changed.notify_one();
        self.failure = Some(cause.clone());
        slot.into_jobs().for_each(|job| self.failed(job, cause, failure));
    }

    /// Reports what has come of the job in hand.
    fn done(&mut self, id: SessionId, result: Result<bool, Error>) {
        let Some(job) = self.sessions.take_job(id) else { return };
        let result = match result {
            Ok(result) => result,
            Err(cause) => {
                if let Job::Pin { .. } | Job::Repin { .. } = job {
                    self.unpin(id);
                }
                let is_passing = cause.is_lack_of_sessions();
                return self.failed(job, &cause, if is_passing { Failure::Passing } else { Failure::Lasting });
            }
        };
        self.has_answered();
        match job {
            Job::Pin { key, .. } | Job::Repin { key, .. } | Job::Upgrade { key, .. } if result => {
                self.waits.remove(key);
                if let Some(slot) = self.sessions.slots.get_mut(id) {
                    slot.holds = true;
                }
                self.report(Event::Acquired { key, home: id }, None);
            }
            Job::Pin { key, patient, .. } | Job::Repin { key, patient, .. } => {
                self.unpin(id);
                self.denied(key, patient);
            }
            Job::Upgrade { key, .. } => self.denied(key, true),
            Job::Unpin { key } => {
                self.unpin(id);
                let cause = Error::new("25P01", "the transaction that held it was over");
                self.report(Event::Released { key, held: result }, Some(&cause));
            }
            Job::Probe { key } => self.report(Event::Probed { key, contended: result }, None),
            // What is answered with more than a yes or no has been answered.
            Job::Look | Job::Holders { .. } | Job::Verify { .. } => {}
        }
    }

    /// The server works.
    fn has_answered(&mut self) {
        self.failure = None;
        self.losses = 0;
    }

    fn denied(&mut self, key: Key, patient: bool) {
        if !self.waits.contains(key) {
            if patient {
                // A wait that was cancelled meanwhile leaves its key here.
                if self.taken.len() >= MOST_TAKEN {
                    self.taken.clear();
                }
                self.taken.insert(key);
            }
            self.report(Event::Denied { key }, None);
        } else if self.waits.put_back(key, true, Instant::now()) {
            self.end_wait(key);
        }
    }

    /// Reports what a look has found.
    fn looked(&mut self, id: SessionId, keys: &[(Key, Mode)], seen: &[Seen]) {
        if self.sessions.take_job(id).is_none() {
            return;
        }
        self.is_looking = false;
        self.has_answered();
        let now = Instant::now();
        for (&(key, mode), &seen) in keys.iter().zip(seen) {
            if !self.waits.is_looked_for(key) {
                // It has been cancelled meanwhile.
                continue;
            }
            // Where others hand a key on among themselves none of them is ever seen to leave it. One who waits in the queue gets it
            // with the next end of a transaction; more of them would be in the way of others.
            let (is_taken, is_worth_it) = match seen {
                Seen::Free => (false, true),
                Seen::Taken { by, is_awaited } => (true, self.waits.changes_hands(key, by) && !is_awaited),
            };
            if is_worth_it && self.pin(key, mode, true, is_taken) {
                self.waits.is_tried(key);
            } else {
                self.waits.put_back(key, is_taken, now);
            }
        }
        self.changed.notify_one();
    }

    /// Reports a job that was not done, or of which nobody knows.
    fn failed(&mut self, job: Job, cause: &Error, failure: Failure) {
        match job {
            Job::Pin { key, patient, .. } | Job::Repin { key, patient, .. } => {
                self.acquire_failed(key, cause, patient && failure == Failure::Passing);
            }
            // What was to be added to is gone.
            Job::Upgrade { key, .. } => self.acquire_failed(key, cause, false),
            Job::Unpin { key } => self.report(Event::Released { key, held: false }, Some(cause)),
            Job::Look => {
                self.is_looking = false;
                // Where it has not begun it would have been for those that are due.
                self.waits.take_due(Instant::now());
                for key in self.waits.looked_for() {
                    self.acquire_failed(key, cause, failure == Failure::Passing);
                }
                self.changed.notify_one();
            }
            Job::Probe { key } => self.report(Event::Probed { key, contended: false }, None),
            Job::Holders { ticket, .. } | Job::Verify { ticket } => {
                self.reports.push(Report::Answer(ticket, Answer::Failed(cause.clone())));
            }
        }
    }

    /// A key could not be asked for. `goes_on`: it is asked for again some time.
    fn acquire_failed(&mut self, key: Key, cause: &Error, goes_on: bool) {
        if !self.waits.contains(key) {
            if goes_on {
                self.report(Event::Denied { key }, None);
            } else {
                self.report(Event::AcquireFailed { key }, Some(cause));
            }
        } else if goes_on {
            if self.waits.put_back(key, false, Instant::now()) {
                self.end_wait(key);
            }
        } else if self.waits.remove(key) {
            self.report(Event::WaitEnded { key }, None);
        } else {
            self.report(Event::AcquireFailed { key }, Some(cause));
        }
    }

    fn end_wait(&mut self, key: Key) {
        self.waits.remove(key);
        self.report(Event::WaitEnded { key }, None);
    }

    fn report(&mut self, event: Event, cause: Option<&Error>) {
        self.reports.push_event(event, cause);
    }
}
