//! Owners that wait for each other in a ring, all of them in this process.
//!
//! A wait blocks the holds that its owner had asked for before it: they will not be given up until it ends. A wait that is
//! older than a hold of the same owner does not block it, since whoever took the hold is at work elsewhere.
//!
//! A ring is closed by a wait that begins or by a hold that is granted, and lasts until somebody breaks it. So only owners
//! to whom that has happened, while they held something and waited for something, are looked at, once.

use super::arena::Place;
use super::effects::Ticks;
use super::requests::{Entry, Requests, Stage};
use super::LockTable;
use crate::core::{Mode, OwnerId, RequestId};
use foldhash::{HashMap, HashSet};
use std::collections::BTreeSet;

/// What a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// There is no ring, or not yet.
    Done,
    /// The youngest wait of a ring. Whether there are more is still to be found out, once it has been refused.
    Ring(RequestId),
    /// There is more to look at.
    Unfinished,
}

/// The owners to be looked at, and how far that has got.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// By owner: since when, and the oldest of its waits that may be part of a ring.
    listed: HashMap<OwnerId, (Ticks, RequestId)>,
    in_order: BTreeSet<(Ticks, OwnerId)>,
    walk: Option<Walk>,
}

/// A walk in depth from wait to wait, along what blocks what; without recursion, as queues may be long.
#[derive(Debug, Default)]
struct Walk {
    starts: Vec<RequestId>,
    /// Each wait on the way, and what blocks it and has not been visited yet.
    path: Vec<(RequestId, Vec<RequestId>)>,
    on_path: HashSet<RequestId>,
    visited: HashSet<RequestId>,
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
    fn next(&mut self, old: Ticks) -> Option<(OwnerId, RequestId)> {
        let &(since, owner) = self.in_order.first().filter(|(since, _)| *since <= old)?;
        self.in_order.remove(&(since, owner));
        self.listed.remove(&owner).map(|(_, oldest)| (owner, oldest))
    }
}

impl LockTable {
    /// Looks for a ring among waits that have lasted for `age` at least. Takes no more than about `most` steps, and goes on from
    /// there the next time.
    pub fn search_deadlock(&mut self, age: Ticks, now: Ticks, most: usize) -> Search {
        let Some(old) = now.checked_sub(age) else { return Search::Done };
        let mut walk = self.suspects.walk.take().unwrap_or_default();
        let mut steps = 0;
        while steps < most {
            steps += 1;
            let Some((wait, blockers)) = walk.path.last_mut() else {
                let Some(start) = self.next_start(&mut walk, old) else { return Search::Done };
                walk.enter(start, self.blockers(start, old));
                continue;
            };
            let Some(next) = blockers.pop() else {
                walk.on_path.remove(wait);
                walk.path.pop();
                continue;
            };
            if walk.on_path.contains(&next) {
                return self.leave_walk(walk, next, old);
            }
            if !walk.visited.contains(&next) {
                let blockers = self.blockers(next, old);
                steps += blockers.len();
                walk.enter(next, blockers);
            }
        }
        self.suspects.walk = Some(walk);
        Search::Unfinished
    }

    /// The way has come back to this wait. Much may have changed since it began, and much will when a wait is refused: whoever
    /// was on it, or was still to be looked at, is suspected once more.
    fn leave_walk(&mut self, walk: Walk, next: RequestId, old: Ticks) -> Search {
        let path: Vec<RequestId> = walk.path.into_iter().map(|(wait, _)| wait).collect();
        for &wait in path.iter().chain(&walk.starts) {
            if let Some(place) = self.requests.find(wait) {
                let owner = self.requests.entries[place].owner;
                self.suspects.list(&self.requests, owner, old, wait);
            }
        }
        let begin = path.iter().position(|&wait| wait == next).unwrap_or(0);
        self.youngest_of_ring(&path[begin..], old).map_or(Search::Unfinished, Search::Ring)
    }

    /// The next wait from which to begin a walk.
    fn next_start(&mut self, walk: &mut Walk, old: Ticks) -> Option<RequestId> {
        loop {
            while let Some(start) = walk.starts.pop() {
                if !walk.visited.contains(&start) {
                    return Some(start);
                }
            }
            let (owner, oldest) = self.suspects.next(old)?;
            let waits = self.requests.latest_waits_of(owner).map(|place| &self.requests.entries[place]);
            let waits: Vec<&Entry> =
                waits.take_while(|wait| wait.id >= oldest).filter(|w| w.is_patient_of(owner)).collect();
            walk.starts.extend(waits.iter().filter(|wait| wait.since <= old).map(|wait| wait.id));
            // Those that are too young have their time later.
            if let Some(wait) = waits.iter().rfind(|wait| wait.since > old) {
                let (since, id) = (wait.since, wait.id);
                self.suspects.list(&self.requests, owner, since, id);
            }
        }
    }

    /// The youngest of these waits, if each is still blocked by the next, and the last by the first.
    fn youngest_of_ring(&self, ring: &[RequestId], old: Ticks) -> Option<RequestId> {
        let nexts = ring.iter().cycle().skip(1);
        if !ring.iter().zip(nexts).all(|(&wait, next)| self.blockers(wait, old).contains(next)) {
            return None;
        }
        ring.iter().copied().max_by_key(|&wait| {
            let since = self.requests.find(wait).map(|place| self.requests.entries[place].since);
            (since, wait)
        })
    }

    /// Who waits for the key waits for all its holds from now on.
    pub(super) fn suspect_holders(&mut self, key: Place, now: Ticks) {
        let state = &self.keys[key];
        let entangled = self.requests.entangled().iter();
        let holders: Vec<(OwnerId, RequestId)> =
            entangled.filter_map(|&owner| Some((owner, state.oldest_hold(owner, |_| true, &self.requests)?))).collect();
        for (owner, oldest) in holders {
            self.suspects.list(&self.requests, owner, now, oldest);
        }
    }

    /// The waits that must end before this one can, of those that have lasted since `old` at least.
    pub(super) fn blockers(&self, wait: RequestId, old: Ticks) -> Vec<RequestId> {
        let entries = &self.requests.entries;
        let Some(place) = self.requests.find(wait).filter(|&place| entries[place].stage != Stage::Held) else {
            return Vec::new();
        };
        let wait = &entries[place];
        let mut blockers: Vec<RequestId> = self.before(place, old).map(|place| entries[place].id).into_iter().collect();
        for (owner, oldest_hold) in self.blocking_holders(wait) {
            let younger = self.requests.latest_waits_of(owner).map(|place| &entries[place]);
            let younger = younger.take_while(|other| other.id > oldest_hold);
            let old_enough = younger.filter(|other| other.is_patient_of(owner) && other.since <= old);
            blockers.extend(old_enough.map(|other| other.id));
        }
        blockers
    }

    /// The owners whose holds this wait waits for and who wait for something themselves, with the oldest such hold of each.
    fn blocking_holders(&self, wait: &Entry) -> Vec<(OwnerId, RequestId)> {
        let state = &self.keys[wait.key];
        // While readers drain, because somebody waits on the server, one more waits for all of them.
        let blocks = |mode: Mode| state.draining || mode.conflicts_with(wait.mode);
        let entangled = self.requests.entangled();
        let candidates: BTreeSet<OwnerId> = if entangled.len() < state.held() {
            entangled.iter().copied().filter(|&owner| state.is_holder(owner, &self.requests)).collect()
        } else {
            let holders = state.holds(&self.requests).map(|place| self.requests.entries[place].owner);
            holders.filter(|owner| entangled.contains(owner)).collect()
        };
        let others = candidates.into_iter().filter(|&owner| owner != wait.owner);
        others.filter_map(|owner| Some((owner, state.oldest_hold(owner, blocks, &self.requests)?))).collect()
    }

    /// The wait before this one in the queue of its key, of those that have lasted since `old` at least.
    fn before(&self, place: Place, old: Ticks) -> Option<Place> {
        let queue = &self.keys[self.requests.entries[place].key].queue;
        let mut all_before =
            std::iter::successors(queue.before(&self.requests, place), |&place| queue.before(&self.requests, place));
        all_before.find(|&place| self.requests.entries[place].since <= old)
    }
}

impl Walk {
    fn enter(&mut self, wait: RequestId, blockers: Vec<RequestId>) {
        self.visited.insert(wait);
        self.on_path.insert(wait);
        self.path.push((wait, blockers));
    }
}

impl Entry {
    fn is_patient_of(&self, owner: OwnerId) -> bool {
        self.patient && self.owner == owner
    }
}
