//! What the tasks on the I/O thread ask of the manager, and what they report: what a session is to do next, and how it went.

use super::session_task::{Work, WATCH};
use super::slot::{Failed, Job};
use super::state::State;
use super::Manager;
use crate::core::{Salvaged, SessionId};
use crate::error::Error;
use crate::pg::{Answered, Inquiry, Turn, Wire};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a wait stays in the server's queue at a stretch. A wait holds a snapshot, which `VACUUM` and
/// `CREATE INDEX CONCURRENTLY` must wait for, so it may not last. It ends before `deadlock_timeout` (1 s by default): the server's own
/// check, which stops its whole lock table, would not see the sessions of one process as one, and is done by [`super::rings`].
const TURN: Duration = Duration::from_millis(900);
/// The same where more waits than sessions take turns.
const SHARED_TURN: Duration = Duration::from_millis(150);

impl Manager {
    pub(super) fn opened(&self, id: SessionId, wire: &Arc<Wire>) {
        self.change(None, |state| {
            if let Some(slot) = state.slots.get_mut(&id) {
                slot.wire = Some(Arc::clone(wire));
                slot.idle_since = Instant::now();
                if slot.has_steps() {
                    state.unsent.push(id);
                }
            }
        });
    }

    /// What has become of batches.
    pub(super) fn answered(&self, id: SessionId, answered: Vec<Answered>) {
        self.change(None, |state| state.answered(id, answered));
    }

    pub(super) fn open_failed(&self, id: SessionId, cause: &Error) {
        self.change(None, |state| state.open_failed(id, cause));
    }

    pub(super) fn is_abandoned(&self) -> bool {
        !self.lock().has_owners()
    }

    pub(super) fn next_work(&self, id: SessionId) -> Work {
        self.change(None, |state| loop {
            let is_retrying = state.main == Some(id) && !state.retries.is_empty();
            let has_links = state.rings.is_on(id);
            let has_owners = state.has_owners();
            let idle_timeout = if has_owners { self.settings.idle_timeout } else { Duration::ZERO };
            let Some(slot) = state.slots.get_mut(&id) else { return Work::Gone };
            slot.send();
            if let Some(failed) = slot.fatal.take() {
                return Work::Lose(failed);
            }
            if !slot.failed.is_empty() {
                return Work::Salvage(std::mem::take(&mut slot.failed));
            }
            if let Some(job) = slot.questions.pop_front() {
                slot.idle_since = Instant::now();
                return Work::Query(job);
            }
            match slot.wait {
                Some(wait) if wait.cancelled => {
                    state.end_cancelled_wait(id);
                    state.dispatch_operations();
                    continue;
                }
                // Not before all that was sent is answered: what cancels the wait must not cancel a release, and what is
                // found to be held after that must not be the wait's.
                Some(wait) if !slot.is_busy() && slot.pause().is_zero() => {
                    slot.is_waiting = true;
                    return Work::Wait(wait);
                }
                _ => {}
            }
            let publication_due = if self.settings.publish_names && slot.held > 0 {
                slot.publication_due(self.settings.timing.heartbeat())
            } else {
                Duration::MAX
            };
            if publication_due.is_zero() {
                if let held @ Some(_) = state.held_names(id) {
                    return Work::Heartbeat(held);
                }
                continue;
            }
            if slot.is_busy() || (has_owners && slot.was_busy()) {
                return Work::Idle(WATCH);
            }
            if slot.held > 0 {
                let due = self.settings.timing.heartbeat().saturating_sub(slot.age_of_proof());
                let pause = slot.wait.map_or(due, |_| slot.pause()).min(publication_due);
                return if due.is_zero() { Work::Heartbeat(state.held_names(id)) } else { Work::Idle(due.min(pause)) };
            }
            if slot.wait.is_some() {
                return Work::Idle(slot.pause());
            }
            let idle = slot.idle_since.elapsed();
            if is_retrying || has_links {
                return Work::Idle(self.settings.timing.heartbeat());
            }
            if idle < idle_timeout {
                return Work::Idle(idle_timeout - idle);
            }
            state.leave(id);
            return Work::Close;
        })
        .answer
    }

    pub(super) fn jobs_done(&self, id: SessionId, results: impl IntoIterator<Item = (Job, Result<bool, Error>)>) {
        self.change(None, |state| {
            for (job, result) in results {
                state.job_done(id, job, result);
            }
        });
    }

    pub(super) fn salvaged(&self, id: SessionId, failed: Vec<Failed>, salvaged: Vec<Vec<Salvaged>>) {
        self.change(None, |state| state.salvaged(id, failed, salvaged));
    }

    /// How long a turn in the server's queue may take: less where other waits need the session.
    pub(super) fn turn_limit(&self) -> Duration {
        if self.lock().retries.has_movable() {
            SHARED_TURN
        } else {
            TURN
        }
    }

    /// Whether a wait under way must be cut short.
    pub(super) fn must_interrupt(&self, id: SessionId) -> bool {
        let state = self.lock();
        state.slots.get(&id).is_some_and(|slot| {
            slot.has_steps() || !slot.questions.is_empty() || slot.wait.is_some_and(|wait| wait.cancelled)
        })
    }

    pub(super) fn turn_over(&self, id: SessionId, turn: Turn) {
        self.change(None, |state| {
            let Some(slot) = state.slots.get_mut(&id) else { return };
            slot.idle_since = Instant::now();
            slot.is_waiting = false;
            if turn == Turn::Granted {
                if let Some(wait) = slot.wait.take() {
                    state.acquired(wait.key, id);
                }
            } else {
                state.turn_was_in_vain(id, turn != Turn::NoPlace);
            }
        });
    }

    pub(super) fn wait_failed(&self, id: SessionId, cause: &Error) {
        self.change(None, |state| {
            let Some(slot) = state.slots.get_mut(&id) else { return };
            slot.is_waiting = false;
            if let Some(wait) = slot.wait.take() {
                state.wait_failed(wait, cause);
                state.find_wait_for(id);
            }
        });
    }

    pub(super) fn lost(&self, id: SessionId, unfinished: Vec<Job>, cause: &Error) {
        self.change(None, |state| match &mut state.pooled {
            Some(pooled) => pooled.lost(id, cause),
            None => state.lost(id, unfinished, cause),
        });
    }

    pub(super) fn left(&self) {
        self.change(None, State::left);
    }

    pub(super) fn next_inquiry(&self, id: SessionId) -> Inquiry {
        self.change(None, |state| Inquiry { held: state.held_names(id), ..state.rings.take_inquiry() }).answer
    }

    pub(super) fn retry_round(&self) -> Option<Duration> {
        self.change(None, State::retry_round).answer
    }
}
