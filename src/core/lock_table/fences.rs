//! Fenced holds: beside the key, the session has locked a key of the hold's own, by which others tell this very hold from the ones
//! before and after it.
//!
//! Invariant: the own key of a hold is given up before anything else happens to the key that it held.

use super::arena::Place;
use super::effects::Operation;
use super::fence::Fence;
use super::requests::Stage;
use super::LockTable;
use crate::core::{Key, Mode, RequestId};

impl LockTable {
    /// The key of what `hold` became; `None` where it is no hold or none any more.
    #[must_use]
    pub fn key_of(&self, hold: RequestId) -> Option<Key> {
        let request = &self.requests.entries[self.requests.find(hold)?];
        (request.stage == Stage::Held).then(|| self.keys[request.key].key)
    }

    /// The session of `hold` has locked `own_key`, which is given up with it by [`Operation::EndFence`]. Whether there still is
    /// such a hold.
    pub fn fence(&mut self, hold: RequestId, own_key: Key) -> bool {
        let is_held = self.key_of(hold).is_some();
        if is_held {
            self.fences.insert(hold, Fence { own_key, is_complete: false });
        }
        is_held
    }

    /// The fence of `hold` is complete: nobody has to be waited for any more.
    pub fn complete_fence(&mut self, hold: RequestId) {
        if let Some(fence) = self.fences.get_mut(&hold) {
            fence.is_complete = true;
        }
    }

    /// Whether the owner of `hold` has the key by another hold as well whose fence is complete, and which is as strong: since
    /// then nobody else had the key whom this hold would have to wait for.
    #[must_use]
    pub fn is_covered(&self, hold: RequestId) -> bool {
        let Some(place) = self.requests.find(hold) else { return false };
        let request = &self.requests.entries[place];
        self.keys[request.key].users.holds(&self.requests).map(|other| &self.requests.entries[other]).any(|other| {
            other.owner == request.owner
                && (other.mode == Mode::Exclusive || request.mode == Mode::Shared)
                && self.fences.get(&other.id).is_some_and(|fence| fence.is_complete)
        })
    }

    /// The hold is given up.
    pub(super) fn end_fence(&mut self, hold: RequestId, key: Place) {
        if self.fences.is_empty() {
            return;
        }
        let Some(Fence { own_key, .. }) = self.fences.remove(&hold) else { return };
        let state = &self.keys[key];
        if let Some(server) = state.server {
            self.effects.operations.push(Operation::EndFence { key: state.key, own_key, home: server.home });
        }
    }
}
