//! What the tasks on the I/O thread ask of the manager, and what they report: what a session is to do next, and how it went.

use super::mailbox::ClientId;
use super::serve::{self, Work};
use super::slot::{Failed, Job};
use super::state::State;
use super::{Manager, Reply};
use crate::core::{Salvaged, SessionId};
use crate::error::Error;
use crate::pg::{Answered, Inquiry, Lane, Role};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Manager {
    pub(super) fn role(&self, id: SessionId) -> Option<Role> {
        self.lock().slots.get(&id).map(|slot| slot.role)
    }

    pub(super) fn opened(&self, id: SessionId, lane: &Arc<Lane>) {
        self.change(None, |state| {
            if let Some(slot) = state.slots.get_mut(&id) {
                slot.lane = Some(Arc::clone(lane));
                slot.heard = Instant::now();
                slot.idle_since = slot.heard;
                if slot.has_steps() {
                    state.unsent.push(id);
                }
            }
        });
    }

    /// What has become of batches; `reader` is who has read it.
    pub(super) fn answered(&self, id: SessionId, answered: Vec<Answered>, reader: Option<ClientId>) -> Reply<()> {
        self.change(reader, |state| {
            state.answered(id, answered);
            // After that: whoever waits for the first answer is not to wait for this.
            state.offer_reading(&self.this, id);
        })
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
            let Some(slot) = state.slots.get_mut(&id) else { return Work::Leave };
            slot.send();
            if let Some(lane) = &slot.lane {
                lane.push();
            }
            if let Some(failed) = slot.doom.take() {
                return Work::GiveUp(failed);
            }
            if !slot.failed.is_empty() {
                return Work::Salvage(std::mem::take(&mut slot.failed));
            }
            if let Some(job) = slot.questions.pop_front() {
                slot.idle_since = Instant::now();
                return Work::Ask(job);
            }
            match slot.wait {
                Some(wait) if wait.cancelled => {
                    state.end_cancelled_wait(id);
                    state.settle();
                    continue;
                }
                // Not before all that was sent is answered: what cancels the wait must not cancel a release, and what is
                // found to be held after that must not be the wait's.
                Some(wait) if !slot.is_busy() => {
                    slot.is_waiting = true;
                    return Work::Wait(wait);
                }
                _ => {}
            }
            if slot.is_overdue() {
                return Work::Overdue;
            }
            if slot.is_busy() || (has_owners && slot.was_busy()) {
                return Work::Rest(serve::WATCH);
            }
            if slot.held > 0 {
                let due = self.settings.heartbeat.saturating_sub(slot.heard.elapsed());
                return if due.is_zero() { Work::Heartbeat } else { Work::Rest(due) };
            }
            let idle = slot.idle_since.elapsed();
            if is_retrying || has_links {
                return Work::Rest(self.settings.heartbeat);
            }
            if idle < idle_timeout {
                return Work::Rest(idle_timeout - idle);
            }
            state.leave(id);
            return Work::Leave;
        })
        .answer
    }

    pub(super) fn jobs_done(&self, id: SessionId, results: impl IntoIterator<Item = (Job, Result<bool, Error>)>) {
        self.change(None, |state| {
            state.heard(id);
            for (job, result) in results {
                state.job_done(id, job, result);
            }
        });
    }

    pub(super) fn salvaged(&self, id: SessionId, failed: Vec<Failed>, salvaged: Vec<Vec<Salvaged>>) {
        self.change(None, |state| {
            state.heard(id);
            state.salvaged(id, failed, salvaged);
        });
    }

    /// The server has said something.
    pub(super) fn heard(&self, id: SessionId) {
        self.lock().heard(id);
    }

    /// Whether a wait under way must be cut short.
    pub(super) fn must_interrupt(&self, id: SessionId) -> bool {
        let state = self.lock();
        state.slots.get(&id).is_some_and(|slot| {
            slot.has_steps() || !slot.questions.is_empty() || slot.wait.is_some_and(|wait| wait.cancelled)
        })
    }

    pub(super) fn turn_over(&self, id: SessionId, acquired: bool) {
        self.change(None, |state| {
            state.heard(id);
            let Some(slot) = state.slots.get_mut(&id) else { return };
            slot.idle_since = Instant::now();
            slot.is_waiting = false;
            if acquired {
                if let Some(wait) = slot.wait.take() {
                    state.acquired(wait.key, id);
                }
            }
        });
    }

    pub(super) fn wait_failed(&self, id: SessionId, cause: &Error) {
        self.change(None, |state| {
            state.heard(id);
            let Some(slot) = state.slots.get_mut(&id) else { return };
            slot.is_waiting = false;
            if let Some(wait) = slot.wait.take() {
                state.wait_failed(wait, cause);
                state.find_wait_for(id);
            }
        });
    }

    pub(super) fn lost(&self, id: SessionId, unfinished: Vec<Job>, cause: &Error) {
        self.change(None, |state| state.lost(id, unfinished, cause));
    }

    pub(super) fn left(&self) {
        self.change(None, State::left);
    }

    pub(super) fn next_inquiry(&self) -> Inquiry {
        self.change(None, |state| state.rings.take_inquiry()).answer
    }

    pub(super) fn retry_round(&self) -> Option<Duration> {
        self.change(None, State::retry_round).answer
    }
}
