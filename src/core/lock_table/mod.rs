//! Who holds which key in this process, who waits for it, and what the server has to be asked.
//!
//! A pure state machine: calls and server events go in, [`Outcome`]s and [`Operation`]s come out in [`Effects`]. It must
//! not know connections, clocks (the caller passes the time) or Node. What a call or an event costs does not depend on how
//! many others wait or hold.
//!
//! Invariants, checked against a naive model in `tests`:
//! - two holds of different owners on one key are both shared;
//! - a hold is covered by a server lock of its mode or a stronger one, on the key's one home session;
//! - the process holds a key on the server at most once per mode, and not at all once nobody holds or awaits it;
//! - waiters get the key first in, first out; an owner that holds the key already goes before those who wait for it;
//! - at most one acquiring or releasing operation per key is under way.

mod answers;
mod arena;
mod by_owner;
mod deadlock;
mod effects;
mod fence;
mod fences;
mod key_state;
mod keys;
mod link;
mod links;
mod queue;
mod requests;
mod suspects;
#[cfg(test)]
mod tests;
mod users;

pub use effects::{Admission, Effects, Event, Operation, Outcome, Release, Request, Rules, Ticks};
pub use link::Link;
pub use suspects::Search;

use super::{Key, Mode, OwnerId, RequestId, SessionId};
use arena::Place;
use effects::Confirmation;
use fence::Fence;
use foldhash::HashMap;
use key_state::Phase;
use keys::Keys;
use requests::{Entry, Requests, Stage};
use std::collections::VecDeque;
use suspects::Suspects;

/// The state of every key that somebody in this process holds, awaits or gives back.
#[derive(Debug)]
pub struct LockTable {
    keys: Keys,
    requests: Requests,
    /// Releases that came before the answer to the acquire they belong to; of few keys, if any.
    deferred: HashMap<Place, VecDeque<Deferred>>,
    suspects: Suspects,
    /// Of the holds that are fenced.
    fences: HashMap<RequestId, Fence>,
    rules: Rules,
    effects: Effects,
}

/// A release without a name ([`LockTable::release_latest`]) that is not decided yet.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    owner: OwnerId,
    mode: Mode,
    ticket: RequestId,
}

impl LockTable {
    /// An empty table.
    #[must_use]
    pub fn new(rules: Rules) -> LockTable {
        LockTable {
            keys: Keys::new(),
            requests: Requests::new(),
            deferred: HashMap::default(),
            suspects: Suspects::default(),
            fences: HashMap::default(),
            rules,
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

    /// How many keys are held, awaited or given back.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.count()
    }

    /// The session that holds the key for this process.
    #[must_use]
    pub fn home(&self, key: Key) -> Option<SessionId> {
        self.keys[self.keys.find(key)?].server.map(|server| server.home)
    }

    /// The session on which what `hold` became is held.
    #[must_use]
    pub fn home_of(&self, hold: RequestId) -> Option<SessionId> {
        let request = &self.requests.entries[self.requests.find(hold)?];
        let server = self.keys[request.key].server.filter(|_| request.stage == Stage::Held)?;
        Some(server.home)
    }

    /// The keys that the session has locked for this process.
    pub fn keys_on(&self, session: SessionId) -> impl Iterator<Item = Key> + '_ {
        self.keys.on(session).map(|place| self.keys[place].key)
    }

    /// Since when `request` waits; `None` where it does not.
    #[must_use]
    pub fn waits_since(&self, request: RequestId) -> Option<Ticks> {
        let entry = &self.requests.entries[self.requests.find(request)?];
        (entry.stage != Stage::Held).then_some(entry.since)
    }

    /// How many keys the session has locked for this process.
    #[must_use]
    pub fn key_count_on(&self, session: SessionId) -> usize {
        self.keys.count_on(session)
    }

    /// Whether `request` waits or holds.
    #[must_use]
    pub fn knows(&self, request: RequestId) -> bool {
        self.requests.find(request).is_some()
    }

    /// Whether the key is known to be taken for an owner: the server has said so last, or somebody else in this process holds it.
    #[must_use]
    pub fn is_taken(&self, key: Key, owner: OwnerId, mode: Mode) -> bool {
        self.keys.find(key).is_some_and(|key| {
            let state = &self.keys[key];
            state.taken_elsewhere || state.users.conflicts(owner, mode, &self.requests)
        })
    }

    /// Whether somebody waits for the key who holds something, or whose like from the same owner do.
    #[must_use]
    pub fn is_awaited_by_holders(&self, key: Key) -> bool {
        self.keys.find(key).is_some_and(|key| {
            let mut waits = self.requests.entangled().iter().flat_map(|&owner| self.requests.waits_of(owner));
            waits.any(|wait| self.requests.entries[wait].key == key)
        })
    }

    /// Whether somebody waits who is ready to do so for long.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.requests.has_patient_waits()
    }

    /// Asks for a lock. Where the answer is [`Admission::Pending`] it comes later, as an [`Outcome`].
    pub fn acquire(&mut self, request: &Request, now: Ticks) -> Admission {
        let key = self.keys.find_or_insert(request.key);
        let state = &mut self.keys[key];
        let admission = state.admit(request, &self.requests, self.rules, now);
        match admission {
            Admission::Granted => {
                let place = self.requests.insert(request, key, Stage::Held, now);
                let moved_up = state.users.add_hold(place, &mut self.requests);
                self.suspects.granted(&self.requests, place, moved_up, now);
            }
            Admission::Pending => {
                let stage = state.users.stage_of_wait(request.owner, &self.requests);
                let place = self.requests.insert(request, key, stage, now);
                state.users.enqueue(place, &mut self.requests);
                self.suspects.waits(&self.requests, place);
                if state.phase == Phase::Idle {
                    self.advance(key, now);
                } else {
                    self.confirm_releases(key);
                }
            }
            Admission::Denied | Admission::Deadlock => self.forget_if_unused(key),
        }
        admission
    }

    /// Gives up the hold that `hold` became. `ticket` names the [`Outcome::Released`] where the server has to confirm.
    pub fn release(&mut self, hold: RequestId, ticket: RequestId, now: Ticks) -> Release {
        match self.requests.find(hold).filter(|&place| self.requests.entries[place].stage == Stage::Held) {
            Some(place) => self.release_at(place, ticket, now),
            None => Release::NotHeld,
        }
    }

    /// Gives up the latest hold of `owner` on `key` in `mode`: one taken with [`Request::scoped`] only if there is no other.
    ///
    /// Where the owner has a request whose first try is still under way the answer waits for it, as it would behind that
    /// request on one connection; a request that is blocked is never waited for.
    pub fn release_latest(&mut self, owner: OwnerId, key: Key, mode: Mode, ticket: RequestId, now: Ticks) -> Release {
        let Some(key) = self.keys.find(key) else { return Release::NotHeld };
        let state = &self.keys[key];
        if let Some(place) = state.users.latest_hold(owner, mode, &self.requests) {
            self.release_at(place, ticket, now)
        } else if state.is_undecided(owner, mode, &self.requests) {
            self.deferred.entry(key).or_default().push_back(Deferred { owner, mode, ticket });
            Release::Pending
        } else {
            Release::NotHeld
        }
    }

    /// Takes a request back, whatever has become of it: a waiting one leaves the queue, a granted one is released.
    /// No outcome is reported for it any more.
    pub fn cancel(&mut self, request: RequestId, now: Ticks) {
        let Some(place) = self.requests.find(request) else { return };
        let key = self.requests.entries[place].key;
        if self.requests.entries[place].stage == Stage::Held {
            self.take_hold(place, now);
        } else {
            self.take_wait(place);
            self.stop_wait_if_unwanted(key);
        }
        self.advance(key, now);
    }

    /// Ends a group of owners: their waiters get [`Outcome::Closed`], their holds are given up. Returns how many
    /// [`Outcome::Released`] with this `ticket` will follow.
    pub fn close_owner(&mut self, owner: OwnerId, ticket: RequestId, now: Ticks) -> usize {
        // All waiters go before the first hold does, lest a release grant what is to be closed next.
        let waits: Vec<Place> = self.requests.waits_of(owner.group()).collect();
        let mut keys: Vec<Place> = waits.iter().map(|&place| self.requests.entries[place].key).collect();
        for place in waits {
            self.finish_wait(place, Outcome::Closed);
        }
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            self.stop_wait_if_unwanted(key);
            self.advance(key, now);
        }
        let holds = self.requests.holds_of(owner.group());
        let holds: Vec<RequestId> = holds.map(|place| self.requests.entries[place].id).collect();
        holds.into_iter().filter(|&hold| self.release(hold, ticket, now) == Release::Pending).count()
    }

    /// Refuses a waiting request with [`Outcome::Deadlock`].
    pub fn refuse(&mut self, request: RequestId, now: Ticks) {
        let Some(place) = self.requests.find(request) else { return };
        let entry = &self.requests.entries[place];
        if entry.stage != Stage::Held {
            let key = entry.key;
            self.finish_wait(place, Outcome::Deadlock);
            self.stop_wait_if_unwanted(key);
            self.advance(key, now);
        }
    }

    fn release_at(&mut self, place: Place, ticket: RequestId, now: Ticks) -> Release {
        let key = self.requests.entries[place].key;
        let hold = self.take_hold(place, now);
        self.advance(key, now);
        match self.keys.get_mut(key) {
            Some(state) if state.release_is_unconfirmed() => {
                state.confirmations.push(Confirmation { hold, ticket });
                Release::Pending
            }
            _ => Release::Done(hold),
        }
    }

    fn take_hold(&mut self, place: Place, now: Ticks) -> RequestId {
        let key = self.requests.entries[place].key;
        let moved_down = self.keys[key].remove_hold(place, &mut self.requests);
        let Entry { id, owner, .. } = self.requests.remove(place);
        self.end_fence(id, key);
        if let Some(oldest) = moved_down {
            self.suspects.list(&self.requests, owner, now, oldest);
        }
        self.stop_wait_if_unwanted(key);
        id
    }

    fn take_wait(&mut self, place: Place) -> RequestId {
        let key = self.requests.entries[place].key;
        self.keys[key].users.dequeue(place, &mut self.requests);
        self.requests.remove(place).id
    }

    fn finish_wait(&mut self, place: Place, outcome: Outcome) {
        let request = self.take_wait(place);
        self.effects.outcomes.push((request, outcome));
    }

    /// Grants what can be granted and starts what the server has to do next.
    fn advance(&mut self, key: Place, now: Ticks) {
        self.grant_from_queue(key, now);
        self.answer_deferred(key, now);
        self.confirm_releases(key);
        self.keys.follow_home(key);
        self.forget_if_unused(key);
    }

    fn grant_from_queue(&mut self, key: Place, now: Ticks) {
        let state = &mut self.keys[key];
        while let Some((place, outcome)) = state.next(&mut self.requests, self.rules, now, &mut self.effects.operations)
        {
            let request = self.requests.entries[place].id;
            if outcome == Outcome::Granted {
                self.requests.grant(place);
                let moved_up = state.users.add_hold(place, &mut self.requests);
                self.suspects.granted(&self.requests, place, moved_up, now);
            } else {
                self.requests.remove(place);
            }
            self.effects.outcomes.push((request, outcome));
        }
    }

    /// Answers releases that waited for a request's first try ([`LockTable::release_latest`]), as far as they can be.
    fn answer_deferred(&mut self, key: Place, now: Ticks) {
        if self.deferred.is_empty() {
            return;
        }
        let Some(mut deferred) = self.deferred.remove(&key) else { return };
        loop {
            let count = deferred.len();
            let mut has_released = false;
            for _ in 0..count {
                let Some(Deferred { owner, mode, ticket }) = deferred.pop_front() else { break };
                let state = &self.keys[key];
                if let Some(place) = state.users.latest_hold(owner, mode, &self.requests) {
                    let hold = self.take_hold(place, now);
                    self.keys[key].confirmations.push(Confirmation { hold, ticket });
                    // As on one connection: what this release makes way for comes before the next release.
                    self.grant_from_queue(key, now);
                    has_released = true;
                } else if state.is_undecided(owner, mode, &self.requests) {
                    deferred.push_back(Deferred { owner, mode, ticket });
                } else {
                    self.effects.outcomes.push((ticket, Outcome::NotHeld));
                }
            }
            if !has_released || deferred.is_empty() {
                break;
            }
        }
        if !deferred.is_empty() {
            self.deferred.insert(key, deferred);
        }
    }

    /// Reports releases as done, unless they are not.
    fn confirm_releases(&mut self, key: Place) {
        let state = &mut self.keys[key];
        if !state.release_is_unconfirmed() {
            for Confirmation { hold, ticket } in state.confirmations.drain(..) {
                self.effects.outcomes.push((ticket, Outcome::Released { hold }));
            }
        }
    }

    fn fail_confirmations(&mut self, key: Place) {
        for Confirmation { hold, ticket } in self.keys[key].confirmations.drain(..) {
            self.effects.outcomes.push((ticket, Outcome::ReleaseFailed { hold }));
        }
    }

    fn stop_wait_if_unwanted(&mut self, key: Place) {
        let state = &mut self.keys[key];
        if let Phase::Waiting { mode, cancelled: false } = state.phase {
            if !state.wait_is_wanted(mode, &self.requests) {
                state.phase = Phase::Waiting { mode, cancelled: true };
                self.effects.operations.push(Operation::CancelWait { key: state.key });
            }
        }
    }

    fn forget_if_unused(&mut self, key: Place) {
        if self.keys[key].is_unused() {
            self.keys.remove(key);
        }
    }
}
