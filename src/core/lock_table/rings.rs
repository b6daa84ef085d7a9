//! Owners that wait for each other in a ring: found in the table where all of them are in this process; otherwise, what
//! this process has to tell the others so that the ring can be found.
//!
//! A wait blocks the holds that its owner had asked for before it: they will not be given up until it ends. A wait that is
//! older than a hold of the same owner does not block it, since whoever took the hold is at work elsewhere.

use super::effects::{Outcome, Ticks};
use super::key_state::{KeyState, Phase};
use super::{LockTable, Place};
use crate::core::{Key, Mode, OwnerId, RequestId};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Beyond so many links the rest is not told to the others, lest the server's lock table suffer.
const ENOUGH_LINKS: usize = 256;

/// Somebody in this process holds one key, and will not give it up before this process gets another one. Or somebody just
/// waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// What is held, if anything.
    pub held: Option<(Key, Mode)>,
    /// What somebody else must not hold for that; of an exclusive wait there is a link for either mode.
    pub in_the_way: (Key, Mode),
}

/// A wait that is old enough to count.
struct Waiter {
    request: RequestId,
    owner: OwnerId,
    key: Key,
    mode: Mode,
    since: Ticks,
    /// The waiter before it in the queue of its key.
    behind: Option<usize>,
}

struct Waiters {
    all: Vec<Waiter>,
    of_owner: HashMap<OwnerId, Vec<usize>>,
}

impl LockTable {
    /// The youngest wait of a ring in this process, of waits that have lasted for `age` at least.
    #[must_use]
    pub fn youngest_of_a_ring(&self, age: Ticks, now: Ticks) -> Option<RequestId> {
        let waiters = self.waiters(age, now);
        let mut done = vec![false; waiters.all.len()];
        for start in self.holding(&waiters) {
            // A walk in depth, without recursion as queues may be long: the path, and of each place what is left to visit.
            let mut path: Vec<(usize, Vec<usize>)> = vec![(start, self.blockers(&waiters, start))];
            while let Some((_, rest)) = path.last_mut() {
                let Some(next) = rest.pop() else {
                    path.pop().into_iter().for_each(|(waiter, _)| done[waiter] = true);
                    continue;
                };
                if let Some(begin) = path.iter().position(|&(waiter, _)| waiter == next) {
                    let ring = path[begin..].iter().map(|&(waiter, _)| waiter);
                    return waiters.youngest(ring).map(|youngest| waiters.all[youngest].request);
                }
                if !done[next] {
                    path.push((next, self.blockers(&waiters, next)));
                }
            }
        }
        None
    }

    /// What ties this process into rings across processes, by waits that have lasted for `age` at least; with each link
    /// the youngest wait in this process that makes it, and since when it waits.
    #[must_use]
    pub fn links(&self, age: Ticks, now: Ticks) -> BTreeMap<Link, (RequestId, Ticks)> {
        let waiters = self.waiters(age, now);
        let mut links = BTreeMap::new();
        for start in self.holding(&waiters) {
            let held = self.held_before(&waiters.all[start]);
            // The way that each waiter was come by: it names the waits of a link.
            let mut come_from = HashMap::from([(start, start)]);
            let mut open = vec![start];
            while let Some(waiter) = open.pop() {
                if let Some((key, awaited)) = self.awaited_on_server(&waiters.all[waiter]) {
                    let way = std::iter::successors(Some(waiter), |&place| (place != start).then(|| come_from[&place]));
                    let youngest = waiters.youngest(way).unwrap_or(start);
                    let youngest = (waiters.all[youngest].request, waiters.all[youngest].since);
                    let in_the_way =
                        [Mode::Exclusive, Mode::Shared].into_iter().filter(|mode| mode.conflicts_with(awaited));
                    for mode in in_the_way {
                        let links_here = held.iter().map(|&held| Link { held: Some(held), in_the_way: (key, mode) });
                        links.extend(links_here.map(|link| (link, youngest)));
                    }
                    if links.len() >= ENOUGH_LINKS {
                        return links;
                    }
                }
                for next in self.blockers(&waiters, waiter) {
                    if let std::collections::hash_map::Entry::Vacant(way) = come_from.entry(next) {
                        way.insert(waiter);
                        open.push(next);
                    }
                }
            }
        }
        links
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.keys.values().any(|state| !state.queue.is_empty())
    }

    /// Refuses a waiting request with [`Outcome::Deadlock`].
    pub fn refuse(&mut self, request: RequestId, now: Ticks) {
        let Some(&Place { key, .. }) = self.requests.get(&request) else { return };
        let state = self.keys.get_mut(&key).expect("BUG: a request points to a key that the table dropped");
        if state.queue.iter().any(|waiter| waiter.id == request) {
            self.effects.outcomes.push((request, Outcome::Deadlock));
            self.cancel(request, now);
        }
    }

    fn waiters(&self, age: Ticks, now: Ticks) -> Waiters {
        let mut waiters = Waiters { all: Vec::new(), of_owner: HashMap::new() };
        for (&key, state) in &self.keys {
            let mut behind = None;
            for waiter in state.queue.iter().filter(|waiter| waiter.patient) {
                let since = self.requests.get(&waiter.id).map_or(now, |place| place.since);
                if now.saturating_sub(since) < age {
                    continue;
                }
                let index = waiters.all.len();
                let (request, owner, mode) = (waiter.id, waiter.owner, waiter.mode);
                waiters.all.push(Waiter { request, owner, key, mode, since, behind });
                waiters.of_owner.entry(owner).or_default().push(index);
                behind = Some(index);
            }
        }
        waiters
    }

    /// The waiters that block holds: every ring has some.
    fn holding(&self, waiters: &Waiters) -> Vec<usize> {
        if waiters.all.is_empty() {
            return Vec::new();
        }
        let holders: HashSet<OwnerId> =
            self.keys.values().flat_map(|state| state.holds.iter().map(|hold| hold.owner)).collect();
        (0..waiters.all.len()).filter(|&index| holders.contains(&waiters.all[index].owner)).collect()
    }

    /// The holds that this wait blocks.
    fn held_before(&self, waiter: &Waiter) -> Vec<(Key, Mode)> {
        let blocks = |hold: &&super::key_state::Hold| hold.owner == waiter.owner && hold.request < waiter.request;
        self.keys
            .iter()
            .flat_map(|(&key, state)| state.holds.iter().filter(blocks).map(move |hold| (key, hold.mode)))
            .collect()
    }

    /// The waits that must end before this one can.
    fn blockers(&self, waiters: &Waiters, index: usize) -> Vec<usize> {
        let waiter = &waiters.all[index];
        let mut blockers: Vec<usize> = waiter.behind.into_iter().collect();
        let Some(state) = self.keys.get(&waiter.key) else { return blockers };
        for hold in &state.holds {
            // While readers drain, because somebody waits on the server, one more waits for all of them.
            if hold.owner != waiter.owner && (state.draining || hold.mode.conflicts_with(waiter.mode)) {
                let theirs = waiters.of_owner.get(&hold.owner).into_iter().flatten().copied();
                blockers.extend(theirs.filter(|&other| waiters.all[other].request > hold.request));
            }
        }
        blockers
    }

    /// What the server is asked for on behalf of this wait.
    fn awaited_on_server(&self, waiter: &Waiter) -> Option<(Key, Mode)> {
        let state: &KeyState = self.keys.get(&waiter.key)?;
        let is_first = state.queue.front().is_some_and(|head| head.id == waiter.request);
        match state.phase {
            Phase::Waiting { mode, cancelled: false } if is_first => Some((waiter.key, mode)),
            _ => None,
        }
    }
}

impl Waiters {
    fn youngest(&self, of: impl Iterator<Item = usize>) -> Option<usize> {
        of.max_by_key(|&index| (self.all[index].since, self.all[index].request))
    }
}
