//! The owners that may be part of a deadlock, and how far the search among them has got.

use super::arena::Place;
use super::effects::Ticks;
use super::requests::{Entry, Requests};
use crate::core::{OwnerId, RequestId};
use foldhash::{HashMap, HashSet};
use std::collections::BTreeSet;

/// What a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// There is none, or not yet.
    Done,
    /// The youngest wait of one. Whether there are more is still to be found out, once it has been refused.
    Deadlock(RequestId),
    /// There is more to look at.
    Unfinished,
}

/// The owners to be looked at, and how far that has got.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// By owner: since when, and the oldest of its waits that may be part of a deadlock.
    listed: HashMap<OwnerId, (Ticks, RequestId)>,
    in_order: BTreeSet<(Ticks, OwnerId)>,
    /// Where the search has stopped for now.
    pub walk: Option<Walk>,
}

/// A walk in depth from wait to wait, along what blocks what; without recursion, as queues may be long.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub starts: Vec<RequestId>,
    /// Each wait on the way, and what blocks it and has not been visited yet.
    pub path: Vec<(RequestId, Vec<RequestId>)>,
    pub on_path: HashSet<RequestId>,
    pub visited: HashSet<RequestId>,
}

impl Suspects {
    /// A wait begins.
    pub fn waits(&mut self, requests: &Requests, wait: Place) {
        let Entry { owner, id, patient, since, .. } = requests.entries[wait];
        if patient {
            self.list(requests, owner, since, id);
        }
    }

    /// A hold is granted: it is blocked from now on by the younger waits of its owner, and these `moved_up` before others.
    pub fn granted(&mut self, requests: &Requests, hold: Place, moved_up: Option<RequestId>, now: Ticks) {
        let Entry { owner, id, .. } = requests.entries[hold];
        self.list(requests, owner, now, moved_up.map_or(id, |moved| moved.min(id)));
    }

    /// What the owner waits for, from this wait on, may be blocked otherwise than before.
    pub fn list(&mut self, requests: &Requests, owner: OwnerId, since: Ticks, oldest: RequestId) {
        if owner.is_of_one_call() || !requests.entangled().contains(&owner) {
            return;
        }
        let (since, oldest) = match self.listed.remove(&owner) {
            Some((known, other)) => {
                self.in_order.remove(&(known, owner));
                (known.min(since), other.min(oldest))
            }
            None => (since, oldest),
        };
        self.listed.insert(owner, (since, oldest));
        self.in_order.insert((since, owner));
    }

    /// Takes out the next owner whose time has come, and the oldest of its waits to be looked at.
    pub fn next(&mut self, old: Ticks) -> Option<(OwnerId, RequestId)> {
        let &(since, owner) = self.in_order.first().filter(|(since, _)| *since <= old)?;
        self.in_order.remove(&(since, owner));
        self.listed.remove(&owner).map(|(_, oldest)| (owner, oldest))
    }
}

impl Walk {
    /// Goes on to a wait.
    pub fn enter(&mut self, wait: RequestId, blockers: Vec<RequestId>) {
        self.visited.insert(wait);
        self.on_path.insert(wait);
        self.path.push((wait, blockers));
    }
}
