//! Fences, as far as sessions have to do with them: each fenced hold has a key of its own on the session that holds its key.
//!
//! Invariant: a hold gets a key of its own only once the server has confirmed that those of earlier holds of the same key are
//! given up. Who waits after that for all that relies on a fence has waited for all of them.

use super::handle::{Manager, Reply};
use super::job::Query;
use super::mailbox::{Answer, ClientId};
use super::state::State;
use crate::core::{Key, RequestId, SessionId};
use crate::error::Error;
use crate::pg::Fenced;
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
}

impl Manager {
    /// Takes a key of its own for a hold, beside the key that it holds, and a token. Followed by [`Answer::Fenced`] or
    /// [`Answer::Failed`].
    ///
    /// # Errors
    /// `ERR_FENCING_UNAVAILABLE`: the hold is a transaction through a pooler, in which no token can be had.
    pub fn fence(&self, hold: RequestId, ticket: RequestId) -> Reply<Result<(), Error>> {
        self.change(Some(ClientId::of(ticket)), |state| {
            if state.pooled.is_some() {
                return Err(Error::no_fence_through_pooler());
            }
            state.fence(hold, ticket);
            Ok(())
        })
    }

    /// All that relied on fences of earlier holds has been waited for.
    pub fn complete_fence(&self, hold: RequestId) -> Reply<()> {
        self.change(Some(ClientId::of(hold)), |state| state.table.complete_fence(hold))
    }

    /// The session has taken a key of its own for a hold.
    pub(super) fn fenced(&self, session: SessionId, hold: RequestId, ticket: RequestId, fenced: Fenced) {
        self.change(None, |state| {
            if state.table.fence(hold, fenced.own_key()) {
                let is_covered = state.table.is_covered(hold);
                state.clients.post(ticket, Answer::Fenced(fenced, is_covered));
            } else {
                // Nobody was told of it.
                let own_key = fenced.own_key();
                state.sessions.end_fence(own_key, own_key, session);
                state.clients.post(ticket, Answer::Failed(not_held()));
            }
        });
    }
}

impl State {
    fn fence(&mut self, hold: RequestId, ticket: RequestId) {
        let key = self.table.key_of(hold);
        if let Some(ending) = key.and_then(|key| self.fences.ending.get_mut(&key)) {
            ending.held_up.push((hold, ticket));
        } else if let Some(home) = self.table.home_of(hold) {
            self.sessions.push_query(home, Query::Fence { hold, ticket });
        } else {
            self.clients.post(ticket, Answer::Failed(not_held()));
        }
    }

    /// An own key of a hold is given up, by its session or with it.
    pub(super) fn fence_ended(&mut self, key: Key) {
        let Some(ending) = self.fences.ending.get_mut(&key) else { return };
        ending.count -= 1;
        if ending.count > 0 {
            return;
        }
        let held_up = self.fences.ending.remove(&key).map(|ending| ending.held_up);
        for (hold, ticket) in held_up.unwrap_or_default() {
            self.fence(hold, ticket);
        }
    }
}

fn not_held() -> Error {
    Error::new("ERR_LOCK_LOST", "the lock is not held any more")
}
