//! Owners that wait for each other in a cycle, all of them in this process.
//!
//! A wait blocks the holds that its owner had asked for before it: they will not be given up until it ends. A wait that is
//! older than a hold of the same owner does not block it, since whoever took the hold is at work elsewhere.
//!
//! A cycle is closed by a wait that begins or by a hold that is granted, and lasts until somebody breaks it. So only owners
//! to whom that has happened, while they held something and waited for something, are looked at, once.

use super::arena::Place;
use super::effects::Ticks;
use super::requests::{Entry, Stage};
use super::suspects::{Search, Walk};
use super::LockTable;
use crate::core::{Mode, OwnerId, RequestId};
use std::collections::BTreeSet;

impl LockTable {
    /// Looks for a cycle of waits among those that have lasted for `age` at least. Takes no more than about `most` steps, and
    /// goes on from there the next time.
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
                return self.end_walk(walk, next, old);
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
    fn end_walk(&mut self, walk: Walk, next: RequestId, old: Ticks) -> Search {
        let path: Vec<RequestId> = walk.path.into_iter().map(|(wait, _)| wait).collect();
        for &wait in path.iter().chain(&walk.starts) {
            if let Some(place) = self.requests.find(wait) {
                let owner = self.requests.entries[place].owner;
                self.suspects.list(&self.requests, owner, old, wait);
            }
        }
        let begin = path.iter().position(|&wait| wait == next).unwrap_or(0);
        self.youngest_of_cycle(&path[begin..], old).map_or(Search::Unfinished, Search::Deadlock)
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
    fn youngest_of_cycle(&self, cycle: &[RequestId], old: Ticks) -> Option<RequestId> {
        let nexts = cycle.iter().cycle().skip(1);
        if !cycle.iter().zip(nexts).all(|(&wait, next)| self.blockers(wait, old).contains(next)) {
            return None;
        }
        cycle.iter().copied().max_by_key(|&wait| {
            let since = self.requests.find(wait).map(|place| self.requests.entries[place].since);
            (since, wait)
        })
    }

    /// Who waits for the key waits for all its holds from now on.
    pub(super) fn suspect_holders(&mut self, key: Place, now: Ticks) {
        let state = &self.keys[key];
        let entangled = self.requests.entangled().iter();
        let holders: Vec<(OwnerId, RequestId)> = entangled
            .filter_map(|&owner| Some((owner, state.users.oldest_hold(owner, |_| true, &self.requests)?)))
            .collect();
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
        let candidates: BTreeSet<OwnerId> = if entangled.len() < state.users.held() {
            entangled.iter().copied().filter(|&owner| state.users.is_holder(owner, &self.requests)).collect()
        } else {
            let holders = state.users.holds(&self.requests).map(|place| self.requests.entries[place].owner);
            holders.filter(|owner| entangled.contains(owner)).collect()
        };
        let others = candidates.into_iter().filter(|&owner| owner != wait.owner);
        others.filter_map(|owner| Some((owner, state.users.oldest_hold(owner, blocks, &self.requests)?))).collect()
    }

    /// The wait before this one in the queue of its key, of those that have lasted since `old` at least.
    fn before(&self, place: Place, old: Ticks) -> Option<Place> {
        let queue = &self.keys[self.requests.entries[place].key].users.queue;
        let mut all_before =
            std::iter::successors(queue.before(&self.requests, place), |&place| queue.before(&self.requests, place));
        all_before.find(|&place| self.requests.entries[place].since <= old)
    }
}

impl Entry {
    fn is_patient_of(&self, owner: OwnerId) -> bool {
        self.patient && self.owner == owner
    }
}
