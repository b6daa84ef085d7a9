//! Who holds which key in this process, who waits for it, and what the server has to be asked.
//!
//! A pure state machine: calls and server events go in, [`Outcome`]s and [`Operation`]s come out in [`Effects`]. It must
//! not know connections, clocks (the caller passes the time) or Node.
//!
//! Invariants, checked against a naive model in `tests`:
//! - two holds of different owners on one key are both shared;
//! - a hold is covered by a server lock of its mode or a stronger one, on the key's one home session;
//! - the process holds a key on the server at most once per mode, and not at all once nobody holds or awaits it;
//! - waiters get the key first in, first out; an owner that holds the key already goes before those who wait for it;
//! - at most one acquiring or releasing operation per key is under way.

mod answers;
mod effects;
mod key_state;
mod rings;
#[cfg(test)]
mod tests;

pub use effects::{Admission, Effects, Operation, Outcome, Release, Request, Ticks};
pub use rings::Link;

use super::{Key, Mode, OwnerId, RequestId, SessionId};
use effects::Confirmation;
use foldhash::fast::RandomState;
use foldhash::HashMap;
use indexmap::IndexMap;
use key_state::{KeyState, Phase};

/// The state of every key that somebody in this process holds, awaits or gives back.
#[derive(Debug)]
pub struct LockTable {
    /// Side by side, as the places of a `HashMap` that are free would take as much room as what is there.
    keys: IndexMap<Key, KeyState, RandomState>,
    /// Where each waiting or granted request is.
    requests: HashMap<RequestId, Place>,
    /// Releases that came before the answer to the acquire they belong to; of few keys, if any.
    deferred: HashMap<Key, Vec<(OwnerId, Mode, RequestId)>>,
    /// How long the process may hand a key on among its own owners before other processes get their turn.
    tenure: Ticks,
    effects: Effects,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Key,
    owner: OwnerId,
    /// When it was made.
    since: Ticks,
}

impl LockTable {
    /// An empty table.
    #[must_use]
    pub fn new(tenure: Ticks) -> LockTable {
        LockTable {
            keys: IndexMap::default(),
            requests: HashMap::default(),
            deferred: HashMap::default(),
            tenure,
            effects: Effects::default(),
        }
    }

    /// What the calls and events since the last look have brought; the caller drains it.
    pub fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Whether nothing is held, awaited or given back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The session that holds the key for this process.
    #[must_use]
    pub fn home(&self, key: Key) -> Option<SessionId> {
        self.keys.get(&key)?.server.map(|server| server.home)
    }

    /// Whether `request` waits or holds.
    #[must_use]
    pub fn knows(&self, request: RequestId) -> bool {
        self.requests.contains_key(&request)
    }

    /// Asks for a lock. Where the answer is [`Admission::Pending`] it comes later, as an [`Outcome`].
    pub fn acquire(&mut self, request: Request, now: Ticks) -> Admission {
        let state = self.keys.entry(request.key).or_default();
        let admission = state.admit(&request, self.tenure, now);
        let place = Place { key: request.key, owner: request.owner, since: now };
        match admission {
            Admission::Granted => {
                state.grant(&request);
                self.requests.insert(request.id, place);
            }
            Admission::Pending => {
                self.requests.insert(request.id, place);
                state.enqueue(request.clone());
                self.advance(request.key, now);
            }
            Admission::Denied | Admission::Deadlock => self.forget_if_unused(request.key),
        }
        admission
    }

    /// Gives up the hold that `hold` became. `ticket` names the [`Outcome::Released`] where the server has to confirm.
    pub fn release(&mut self, hold: RequestId, ticket: RequestId, now: Ticks) -> Release {
        let Some(&Place { key, .. }) = self.requests.get(&hold) else { return Release::NotHeld };
        let state = self.keys.get_mut(&key).expect("BUG: a request points to a key that the table dropped");
        let Some(index) = state.holds.iter().position(|held| held.request == hold) else { return Release::NotHeld };
        self.release_at(key, index, ticket, now)
    }

    /// Gives up the latest hold of `owner` on `key` in `mode`: one taken with [`Request::scoped`] only if there is no other.
    ///
    /// Where the owner has a request whose first try is still under way the answer waits for it, as it would behind that
    /// request on one connection; a request that is blocked is never waited for.
    pub fn release_latest(&mut self, owner: OwnerId, key: Key, mode: Mode, ticket: RequestId, now: Ticks) -> Release {
        let Some(state) = self.keys.get_mut(&key) else { return Release::NotHeld };
        if let Some(index) = state.latest_hold(owner, mode) {
            self.release_at(key, index, ticket, now)
        } else if state.is_undecided(owner, mode) {
            self.deferred.entry(key).or_default().push((owner, mode, ticket));
            Release::Pending
        } else {
            Release::NotHeld
        }
    }

    /// Takes a request back, whatever has become of it: a waiting one leaves the queue, a granted one is released.
    /// No outcome is reported for it any more.
    pub fn cancel(&mut self, request: RequestId, now: Ticks) {
        let Some(&Place { key, .. }) = self.requests.get(&request) else { return };
        let state = self.keys.get_mut(&key).expect("BUG: a request points to a key that the table dropped");
        if let Some(index) = state.holds.iter().position(|held| held.request == request) {
            self.remove_hold(key, index, now);
        } else {
            self.requests.remove(&request);
            state.queue.retain(|waiter| waiter.id != request);
            self.stop_wait_if_unwanted(key);
            self.advance(key, now);
        }
    }

    /// Ends a group of owners: their waiters get [`Outcome::Closed`], their holds are given up. Returns how many
    /// [`Outcome::Released`] with this `ticket` will follow.
    pub fn close_owner(&mut self, owner: OwnerId, ticket: RequestId, now: Ticks) -> usize {
        let mut mine: Vec<(Key, RequestId)> = self
            .requests
            .iter()
            .filter(|(_, place)| place.owner.group() == owner.group())
            .map(|(&request, place)| (place.key, request))
            .collect();
        mine.sort_unstable();
        // All waiters go before the first hold does, lest a release grant what is to be closed next.
        for of_one_key in mine.chunk_by(|a, b| a.0 == b.0) {
            let key = of_one_key[0].0;
            let state = self.keys.get_mut(&key).expect("BUG: a request points to a key that the table dropped");
            let (waiters, others) =
                state.queue.drain(..).partition(|waiter: &Request| waiter.owner.group() == owner.group());
            state.queue = others;
            for waiter in waiters {
                self.finish(waiter.id, Outcome::Closed);
            }
            self.stop_wait_if_unwanted(key);
            self.advance(key, now);
        }
        mine.into_iter().filter(|&(_, request)| self.release(request, ticket, now) == Release::Pending).count()
    }

    /// The requests that satisfy `condition`, waiting or granted.
    #[must_use]
    pub fn requests_where(&self, condition: impl Fn(RequestId) -> bool) -> Vec<RequestId> {
        self.requests.keys().copied().filter(|&request| condition(request)).collect()
    }

    fn release_at(&mut self, key: Key, index: usize, ticket: RequestId, now: Ticks) -> Release {
        let hold = self.remove_hold(key, index, now);
        match self.keys.get_mut(&key) {
            Some(state) if state.release_is_unconfirmed() => {
                state.confirmations.push(Confirmation { hold, ticket });
                Release::Pending
            }
            _ => Release::Done(hold),
        }
    }

    fn remove_hold(&mut self, key: Key, index: usize, now: Ticks) -> RequestId {
        let hold = self.take_hold(key, index);
        self.advance(key, now);
        hold
    }

    fn take_hold(&mut self, key: Key, index: usize) -> RequestId {
        let state = self.keys.get_mut(&key).expect("BUG: a hold on a key that the table dropped");
        let hold = state.holds.remove(index).request;
        self.requests.remove(&hold);
        if let Some(server) = &mut state.server {
            server.downgrade_refused = false;
        }
        self.stop_wait_if_unwanted(key);
        hold
    }

    /// Grants what can be granted and starts what the server has to do next.
    fn advance(&mut self, key: Key, now: Ticks) {
        loop {
            self.grant_from_queue(key, now);
            if !self.answer_deferred(key) {
                break;
            }
        }
        let Some(state) = self.keys.get_mut(&key) else { return };
        if !state.release_is_unconfirmed() {
            for Confirmation { hold, ticket } in state.confirmations.drain(..) {
                self.effects.outcomes.push((ticket, Outcome::Released { hold }));
            }
        }
        self.forget_if_unused(key);
    }

    fn grant_from_queue(&mut self, key: Key, now: Ticks) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        while let Some((waiter, outcome)) = state.next(key, self.tenure, now, &mut self.effects.operations) {
            if outcome == Outcome::Granted {
                state.grant(&waiter);
            } else {
                self.requests.remove(&waiter.id);
            }
            self.effects.outcomes.push((waiter.id, outcome));
        }
    }

    /// Answers a release that waited for a request's first try ([`LockTable::release_latest`]), if one can be.
    fn answer_deferred(&mut self, key: Key) -> bool {
        let Some(deferred) = self.deferred.get_mut(&key) else { return false };
        let Some(state) = self.keys.get(&key) else { return false };
        let decided = deferred
            .iter()
            .position(|&(owner, mode, _)| state.latest_hold(owner, mode).is_some() || !state.is_undecided(owner, mode));
        let Some(decided) = decided else { return false };
        let (owner, mode, ticket) = deferred.remove(decided);
        if deferred.is_empty() {
            self.deferred.remove(&key);
        }
        match state.latest_hold(owner, mode) {
            None => self.effects.outcomes.push((ticket, Outcome::NotHeld)),
            Some(index) => {
                let hold = self.take_hold(key, index);
                let state = self.keys.get_mut(&key).expect("BUG: the key was there a moment ago");
                state.confirmations.push(Confirmation { hold, ticket });
            }
        }
        true
    }

    fn stop_wait_if_unwanted(&mut self, key: Key) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        if let Phase::Waiting { mode, cancelled: false } = state.phase {
            if !state.wait_is_wanted(mode) {
                state.phase = Phase::Waiting { mode, cancelled: true };
                self.effects.operations.push(Operation::CancelWait { key });
            }
        }
    }

    fn fail_confirmations(&mut self, key: Key) {
        if let Some(state) = self.keys.get_mut(&key) {
            for Confirmation { hold, ticket } in state.confirmations.drain(..) {
                self.effects.outcomes.push((ticket, Outcome::ReleaseFailed { hold }));
            }
        }
    }

    fn finish(&mut self, request: RequestId, outcome: Outcome) {
        self.requests.remove(&request);
        self.effects.outcomes.push((request, outcome));
    }

    fn forget_if_unused(&mut self, key: Key) {
        if self.keys.get(&key).is_some_and(KeyState::is_unused) {
            self.keys.swap_remove(&key);
        }
    }
}
