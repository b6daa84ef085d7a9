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

mod effects;
mod key_state;
mod rings;
#[cfg(test)]
mod tests;

pub use effects::{Admission, Effects, Operation, Outcome, Release, Request, Ticks};
pub use rings::Link;

use super::{Key, Mode, OwnerId, RequestId, SessionId};
use effects::Confirmation;
use foldhash::HashMap;
use key_state::{KeyState, Phase, ServerHold};
use std::collections::VecDeque;

/// The state of every key that somebody in this process holds, awaits or gives back.
#[derive(Debug)]
pub struct LockTable {
    keys: HashMap<Key, KeyState>,
    /// Where each waiting or granted request is.
    requests: HashMap<RequestId, Place>,
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
        LockTable { keys: HashMap::default(), requests: HashMap::default(), tenure, effects: Effects::default() }
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
            state.deferred.push((owner, mode, ticket));
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

    /// [`Operation::Try`], [`Operation::Wait`] or [`Operation::Cycle`] got the lock, on `home`.
    pub fn acquired(&mut self, key: Key, home: SessionId, now: Ticks) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        let (Phase::Trying(mode) | Phase::Waiting { mode, .. }) = state.phase else {
            unreachable!("BUG: a lock was acquired that the table did not ask for")
        };
        state.phase = Phase::Idle;
        state.server.get_or_insert(ServerHold::none(home)).set(mode, true);
        state.since = now;
        state.draining = false;
        self.advance(key, now);
        if let Some(state) = self.keys.get_mut(&key) {
            // Where nobody else waits no room is kept for who might.
            if state.queue.is_empty() {
                state.queue = VecDeque::new();
            }
        }
    }

    /// [`Operation::Try`] or the try of an [`Operation::Cycle`] found the key taken.
    pub fn denied(&mut self, key: Key, now: Ticks) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        let Phase::Trying(mode) = state.phase else {
            unreachable!("BUG: a try was denied that the table did not ask for")
        };
        // An upgrade whose owner has released meanwhile is no upgrade any more and starts afresh.
        let wait = state.queue.front().is_some_and(|head| head.patient) && state.wait_is_wanted(mode);
        // Who does not wait is refused behind a waiter, and by what refused the same mode just now.
        let (refused, kept) =
            state.queue.drain(..).partition(|waiter: &Request| !waiter.patient && (wait || waiter.mode == mode));
        state.queue = kept;
        if wait {
            state.phase = Phase::Waiting { mode, cancelled: false };
            let home = state.server.map(|server| server.home);
            self.effects.operations.push(Operation::Wait { key, mode, home });
        } else {
            state.phase = Phase::Idle;
        }
        for waiter in refused {
            self.finish(waiter.id, Outcome::Denied);
        }
        self.advance(key, now);
    }

    /// The wait that [`Operation::CancelWait`] was for has ended without the lock.
    pub fn wait_ended(&mut self, key: Key, now: Ticks) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        debug_assert!(matches!(state.phase, Phase::Waiting { .. }), "BUG: a wait ended that was not under way");
        state.phase = Phase::Idle;
        self.advance(key, now);
    }

    /// An acquiring operation failed. Those it was for get [`Outcome::Failed`]; who waits for a hold in this process goes on.
    pub fn acquire_failed(&mut self, key: Key, now: Ticks) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        let (Phase::Trying(mode) | Phase::Waiting { mode, .. }) = state.phase else {
            unreachable!("BUG: an acquiring failed that the table did not ask for")
        };
        let cancelled = matches!(state.phase, Phase::Waiting { cancelled: true, .. });
        let affected = match state.server {
            // It was for somebody who has gone; who came meanwhile has not been asked for yet.
            _ if cancelled => 0,
            None => state.queue.len(),
            // An upgrade, if its owner still wants it.
            Some(_) => usize::from(state.wait_is_wanted(mode)),
        };
        state.phase = Phase::Idle;
        let failed: Vec<Request> = state.queue.drain(..affected).collect();
        for waiter in failed {
            self.finish(waiter.id, Outcome::Failed);
        }
        self.advance(key, now);
    }

    /// [`Operation::Release`] is done. `held` is false if the server knew of no such lock: it had been lost before.
    pub fn released(&mut self, key: Key, held: bool, now: Ticks) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        debug_assert!(state.phase == Phase::Releasing, "BUG: a release ended that was not under way");
        state.phase = Phase::Idle;
        if !held {
            self.fail_confirmations(key);
        }
        self.advance(key, now);
    }

    /// [`Operation::Downgrade`] is done, or (`false`) has changed nothing.
    pub fn downgraded(&mut self, key: Key, done: bool, now: Ticks) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        let Phase::Downgrading { take_shared } = state.phase else { return };
        state.phase = Phase::Idle;
        if !done {
            if let Some(server) = &mut state.server {
                server.exclusive = true;
                server.shared = !take_shared;
                // Asking again at once would fail again: the stronger lock stays until the next release.
                server.downgrade_refused = true;
            }
        }
        self.advance(key, now);
    }

    /// [`Operation::Probe`] is answered: whether a session of anybody waits for the key on the server.
    pub fn probed(&mut self, key: Key, contended: bool, now: Ticks) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        if !state.probing {
            return;
        }
        state.probing = false;
        state.draining = contended;
        state.since = now;
        self.advance(key, now);
    }

    /// The session is gone, and every lock on it. Its operations under way are reported one by one besides, after this.
    pub fn session_lost(&mut self, session: SessionId, now: Ticks) {
        let homes: Vec<Key> = self
            .keys
            .iter()
            .filter(|(_, state)| state.server.is_some_and(|server| server.home == session))
            .map(|(&key, _)| key)
            .collect();
        for key in homes {
            let state = self.keys.get_mut(&key).expect("BUG: the key was there a moment ago");
            state.server = None;
            state.probing = false;
            state.draining = false;
            if matches!(state.phase, Phase::Downgrading { .. }) {
                state.phase = Phase::Idle;
            }
            for hold in std::mem::take(&mut state.holds) {
                self.finish(hold.request, Outcome::Lost);
            }
            self.fail_confirmations(key);
            self.advance(key, now);
        }
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
        let Some(state) = self.keys.get_mut(&key) else { return false };
        let decided = state
            .deferred
            .iter()
            .position(|&(owner, mode, _)| state.latest_hold(owner, mode).is_some() || !state.is_undecided(owner, mode));
        let Some(decided) = decided else { return false };
        let (owner, mode, ticket) = state.deferred.remove(decided);
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
            self.keys.remove(&key);
        }
    }
}
