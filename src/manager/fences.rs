//! Each fenced hold has a key of its own on the session that holds its key. This keeps account of such keys that are being given up.
//!
//! Invariant: a hold gets a key of its own only once the server has confirmed that those of earlier holds of the same key are
//! given up. Who waits after that for all that relies on a fence has waited for all of them.

use crate::core::{Key, RequestId};
use foldhash::HashMap;

/// What is under way of one key.
#[derive(Default)]
struct Ending {
    /// Own keys of holds that are being given up.
    count: usize,
    /// Holds that want a fence meanwhile, and the tickets.
    held_up: Vec<(RequestId, RequestId)>,
}

#[derive(Default)]
pub(super) struct Fences {
    ending: HashMap<Key, Ending>,
}

impl Fences {
    /// An own key of a hold of this key is being given up.
    pub fn begin_end(&mut self, key: Key) {
        self.ending.entry(key).or_default().count += 1;
    }

    /// Whether a fence of a hold of this key has to wait, with its ticket, until such keys are given up.
    pub fn holds_up(&mut self, key: Key, hold: RequestId, ticket: RequestId) -> bool {
        let Some(ending) = self.ending.get_mut(&key) else { return false };
        ending.held_up.push((hold, ticket));
        true
    }

    /// An own key of a hold of this key is given up. The answer: the holds that may be fenced now, and their tickets.
    pub fn end(&mut self, key: Key) -> Vec<(RequestId, RequestId)> {
        let Some(ending) = self.ending.get_mut(&key) else { return Vec::new() };
        ending.count -= 1;
        if ending.count > 0 {
            return Vec::new();
        }
        self.ending.remove(&key).map_or(Vec::new(), |ending| ending.held_up)
    }
}
