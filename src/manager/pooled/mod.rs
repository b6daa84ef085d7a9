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
mod outcomes;
mod sessions;
mod slot;
pub(super) mod task;
#[cfg(test)]
mod tests;
mod waits;

use super::report::Reports;
use crate::core::lock_table::{Event, Operation};
use crate::core::{Key, Mode, RequestId, SessionId, Step};
use crate::error::Error;
use foldhash::HashSet;
use job::{Failure, Job};
pub(super) use looks::Looks;
use sessions::Sessions;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use waits::{Cancelled, Waits};

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
            Operation::Do { step, home: Some(home), .. } => match step {
                Step::Try { key, mode } => self.push(home, Job::Upgrade { key, mode }),
                Step::Release { key, .. } => self.give_up(home, Job::Unpin { key }),
                Step::Requeue { .. } => unreachable!("BUG: a release through a pooler is confirmed"),
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
        if self.pin(key, mode, patient, None) {
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
        for (id, wire) in self.sessions.slots.wires_where(|_, slot| slot.holds) {
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
    fn pin(&mut self, key: Key, mode: Mode, patient: bool, turn: Option<Duration>) -> bool {
        let session = self.sessions.pin();
        if let Some(session) = session {
            self.push(session, Job::Pin { key, mode, patient, turn });
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

    fn report(&mut self, event: Event, cause: Option<&Error>) {
        self.reports.push_event(event, cause);
    }
}
