//! The sessions through a pooler: how many hold a key, which of them asks, and which are to be had for either.

use super::job::Job;
use super::slot::Slot;
use crate::core::SessionId;
use crate::error::Error;
use crate::manager::slots::Slots;
use std::time::Instant;

pub(in crate::manager) struct Sessions {
    pub slots: Slots<Slot>,
    /// How many may be pinned.
    most: usize,
    /// How many are, or are about to be.
    pub(super) pinned: usize,
    /// The one that looks and asks at the moment, one thing after the other.
    pub(super) asker: Option<SessionId>,
}

impl Sessions {
    /// `most`: how many may be pinned.
    pub(super) fn new(most: usize) -> Sessions {
        Sessions { slots: Slots::new(), most, pinned: 0, asker: None }
    }

    /// Why there may be no more that are pinned.
    pub(super) fn no_more(&self) -> Error {
        Error::no_pinned_connection(self.most)
    }

    /// Whether one more may be pinned.
    pub(super) fn may_pin(&self) -> bool {
        self.pinned < self.most
    }

    /// Pins one more, newly begun if need be. `None`: there may be no more.
    pub(super) fn pin(&mut self) -> Option<SessionId> {
        if !self.may_pin() {
            return None;
        }
        let id = self.find_idle();
        if let Some(slot) = self.slots.get_mut(id) {
            slot.is_pinned = true;
            self.pinned += 1;
        }
        Some(id)
    }

    /// The session is not pinned from here on; whether it was until now.
    pub(super) fn unpin(&mut self, id: SessionId) -> bool {
        let Some(slot) = self.slots.get_mut(id) else { return false };
        let was_pinned = std::mem::take(&mut slot.is_pinned);
        self.pinned -= usize::from(was_pinned);
        was_pinned
    }

    /// The one that asks, which is not pinned.
    pub(super) fn find_asker(&mut self) -> SessionId {
        let asker = self.asker.filter(|&id| self.slots.contains(id)).unwrap_or_else(|| self.find_idle());
        self.asker = Some(asker);
        asker
    }

    /// One that does nothing, newly begun if need be.
    fn find_idle(&mut self) -> SessionId {
        let idle = self.slots.iter().find(|&(id, slot)| slot.is_idle() && self.asker != Some(id));
        match idle.map(|(id, _)| id) {
            Some(id) => id,
            None => self.slots.begin(Slot::new(Instant::now())),
        }
    }

    /// Takes the job in hand, which is done. A session that has nothing to ask any more leaves that to others.
    pub(super) fn take_job(&mut self, id: SessionId) -> Option<Job> {
        let slot = self.slots.get_mut(id)?;
        let job = slot.end_job();
        if self.asker == Some(id) && slot.has_no_work() {
            self.asker = None;
        }
        job
    }

    /// Removes a session that is gone, and is not pinned any more.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Slot> {
        let slot = self.slots.remove(id)?;
        if self.asker == Some(id) {
            self.asker = None;
        }
        Some(slot)
    }

    /// Forgets a session that is idle and closes now; [`Slots::end_closing`] must follow.
    pub(super) fn close(&mut self, id: SessionId) {
        self.slots.remove(id);
        self.slots.begin_closing();
    }
}
