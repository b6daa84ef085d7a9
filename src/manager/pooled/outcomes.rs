//! What has come of the jobs of sessions through a pooler, and what follows from it: reports for the lock table and for callers, and
//! waits that go on or end.
//!
//! Invariant: each job that was begun is reported once, or its wait goes on.

use super::job::{Failure, Job};
use super::Pooled;
use crate::core::lock_table::Event;
use crate::core::{Key, Mode, SessionId};
use crate::error::Error;
use crate::manager::mailbox::Answer;
use crate::manager::report::Report;
use crate::pg::{Seen, Wire};
use std::sync::Arc;
use std::time::Instant;

/// So many sessions in a row may be lost at work before those are told who only wait.
pub(super) const MOST_LOSSES: usize = 3;
/// So many keys are known to be taken, at the most, before their waits begin.
const MOST_TAKEN: usize = 1000;

impl Pooled {
    pub(super) fn opened(&mut self, id: SessionId, wire: &Arc<Wire>) {
        if let Some(slot) = self.sessions.slots.get_mut(id) {
            slot.opened(wire);
        }
    }

    /// The session could not be opened.
    pub(super) fn open_failed(&mut self, id: SessionId, cause: &Error) {
        let is_passing = cause.is_lack_of_sessions() || self.sessions.slots.has_open();
        self.end(id, cause, if is_passing { Failure::Passing } else { Failure::Lasting });
    }

    /// The session is gone with what it holds.
    pub fn lost(&mut self, id: SessionId, cause: &Error) {
        let Some(slot) = self.sessions.slots.get_mut(id) else { return };
        // The next connection will tell whether this goes on.
        let is_at_work = !slot.has_no_work();
        // Whoever has just asked is not told that a connection without a lock has been dead for long. A pooler that says nothing
        // may have no server session to lend, for which nobody is to wait twice.
        let again = slot.take_repeatable_if_dead(!cause.is_silence() && !cause.is_transaction_pooling());
        self.report(Event::SessionLost { session: id }, Some(cause));
        self.losses += usize::from(is_at_work && !cause.is_lack_of_sessions());
        let lasts = cause.is_transaction_pooling() || self.losses > MOST_LOSSES;
        self.end(id, cause, if lasts { Failure::Lasting } else { Failure::Passing });
        for job in again {
            match job {
                Job::Pin { key, mode, patient, .. } => self.route_try(key, mode, patient),
                other => self.ask(other),
            }
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
    pub(super) fn done(&mut self, id: SessionId, result: Result<bool, Error>) {
        let Some(job) = self.sessions.take_job(id) else { return };
        let result = match result {
            Ok(result) => result,
            Err(cause) => {
                if let Job::Pin { .. } = job {
                    self.unpin(id);
                }
                let is_passing = cause.is_lack_of_sessions();
                return self.failed(job, &cause, if is_passing { Failure::Passing } else { Failure::Lasting });
            }
        };
        self.has_answered();
        match job {
            Job::Pin { key, .. } | Job::Upgrade { key, .. } if result => {
                self.waits.remove(key);
                if let Some(slot) = self.sessions.slots.get_mut(id) {
                    slot.holds = true;
                }
                self.report(Event::Acquired { key, home: id }, None);
            }
            Job::Pin { key, patient, .. } => {
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
    pub(super) fn looked(&mut self, id: SessionId, keys: &[(Key, Mode)], seen: &[Seen]) {
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
            let (is_taken, turn) = match seen {
                Seen::Free => (false, None),
                Seen::Taken { by, awaited } => (true, self.waits.turn(key, by, awaited, now)),
            };
            if (!is_taken || turn.is_some()) && self.pin(key, mode, true, turn) {
                self.waits.is_tried(key);
            } else {
                self.waits.put_back(key, is_taken, now);
            }
        }
        self.changed.notify_one();
    }

    /// Reports a job that was not done, or of which nobody knows.
    pub(super) fn failed(&mut self, job: Job, cause: &Error, failure: Failure) {
        match job {
            Job::Pin { key, patient, .. } => {
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
    pub(super) fn acquire_failed(&mut self, key: Key, cause: &Error, goes_on: bool) {
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
}
