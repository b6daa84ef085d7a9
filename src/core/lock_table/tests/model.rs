//! What callers may expect of the lock table, kept as naively as possible: every call and every answer is written down
//! and compared. Panics where the table breaks a promise.

use super::state_of;
use crate::core::lock_table::{Admission, LockTable, Outcome, Release, Request, Ticks};
use crate::core::{Key, Mode, OwnerId, RequestId};
use std::collections::{BTreeMap, BTreeSet};

/// Of the tables that it is compared with.
pub const TENURE: Ticks = 20;

#[derive(Debug, Default)]
pub struct Model {
    entries: BTreeMap<RequestId, Entry>,
    tickets: BTreeMap<RequestId, Ticket>,
    grants: u64,
    pub now: Ticks,
    /// When each key was last taken on the server, or found awaited by nobody.
    taken: BTreeMap<Key, Ticks>,
}

#[derive(Debug)]
struct Entry {
    request: Request,
    state: State,
    /// The owner has held the key since it asked, so that it may go before others.
    by_holder: bool,
    /// The place among all grants.
    granted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Held,
    /// Its owner was closed: the very answer is known.
    Closing,
    Over,
}

#[derive(Debug)]
enum Ticket {
    /// Some of these are to be confirmed, so many.
    Holds(BTreeSet<RequestId>, usize),
    Deferred(OwnerId, Key, Mode),
}

/// What has happened in a step, so that bad news can be justified.
#[derive(Debug, Default)]
pub struct Evidence {
    pub denied: BTreeSet<Key>,
    pub failed: BTreeSet<Key>,
    pub broken: BTreeSet<Key>,
    pub lost: BTreeSet<RequestId>,
    /// The request that was to be refused.
    pub deadlock: Option<RequestId>,
}

impl Model {
    pub fn requested(&mut self, request: &Request, admission: Admission, table: &LockTable) {
        let by_holder = self.held_by(request.owner, request.key, table);
        let conflict = self.conflicts(request, table);
        let others_wait =
            self.waiting(request.key).any(|waiter| waiter.request.patient && waiter.request.owner != request.owner);
        let state = match admission {
            Admission::Granted => {
                assert!(!conflict, "granted against a hold");
                assert!(by_holder || self.waiting(request.key).next().is_none(), "granted past the queue");
                assert!(by_holder || self.is_our_turn(request.key), "others on the server are kept waiting");
                State::Held
            }
            Admission::Pending => State::Waiting,
            Admission::Denied => {
                assert!(!request.patient, "a patient request is denied");
                let taken = conflict || self.waiting(request.key).next().is_some() || is_draining(request.key, table);
                assert!(taken, "denied although nobody holds or waits");
                State::Over
            }
            Admission::Deadlock => {
                let other_upgrade = self.waiting(request.key).any(|waiter| {
                    waiter.request.owner != request.owner && self.held_by(waiter.request.owner, request.key, table)
                });
                assert!(request.patient && by_holder && conflict && others_wait && other_upgrade, "a false deadlock");
                State::Over
            }
        };
        self.grants += 1;
        let entry = Entry { request: request.clone(), state, by_holder, granted: self.grants };
        assert!(self.entries.insert(request.id, entry).is_none(), "the test used an id twice");
    }

    /// A release of `hold`, `expected` to be held or not before the call.
    pub fn released(&mut self, hold: RequestId, expected: bool, ticket: RequestId, answer: Release) {
        match answer {
            Release::NotHeld => assert!(!expected, "{hold:?} is held and cannot be released"),
            Release::Done(done) => {
                assert!(expected && done == hold, "{done:?} was released instead of {hold:?}");
                self.set(hold, State::Over);
            }
            Release::Pending => {
                assert!(expected, "{hold:?} is not held and yet released");
                self.set(hold, State::Over);
                self.tickets.insert(ticket, Ticket::Holds([hold].into(), 1));
            }
        }
    }

    /// A release without a name where the owner had no hold.
    pub fn deferred(&mut self, owner: OwnerId, key: Key, mode: Mode, ticket: RequestId, answer: Release) {
        match answer {
            Release::NotHeld => {}
            Release::Done(hold) => panic!("{hold:?} was released of an owner that held nothing"),
            Release::Pending => {
                let asked = |waiter: &Entry| waiter.request.owner == owner && waiter.request.mode == mode;
                assert!(self.waiting(key).any(asked), "a release waits for nothing");
                self.tickets.insert(ticket, Ticket::Deferred(owner, key, mode));
            }
        }
    }

    pub fn cancelled(&mut self, request: RequestId) {
        self.set(request, State::Over);
    }

    /// To be called before the table is: what it will have to answer.
    pub fn closing(&mut self, owner: OwnerId, table: &LockTable) -> BTreeSet<RequestId> {
        let mut held = BTreeSet::new();
        for (&id, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.request.owner.group() == owner) {
            if entry.state == State::Waiting {
                entry.state = State::Closing;
            } else if entry.state == State::Held && table.knows(id) {
                entry.state = State::Over;
                held.insert(id);
            }
        }
        held
    }

    pub fn closed(&mut self, ticket: RequestId, held: BTreeSet<RequestId>, confirmations: usize) {
        assert!(confirmations <= held.len(), "more confirmations than holds");
        if confirmations > 0 {
            self.tickets.insert(ticket, Ticket::Holds(held, confirmations));
        }
    }

    /// A hold whose owner waits for nothing that it has asked for since.
    pub fn unblocked_hold(&self, table: &LockTable) -> Option<RequestId> {
        let blocks = |hold: RequestId, owner: OwnerId| {
            let mine =
                self.entries.range(hold..).filter(|(_, entry)| entry.state == State::Waiting && entry.request.patient);
            mine.map(|(_, entry)| entry.request.owner).any(|whose| whose == owner)
        };
        let held = self.entries.iter().filter(|(&id, entry)| entry.state == State::Held && table.knows(id));
        held.map(|(&id, entry)| (id, entry.request.owner)).find(|&(id, owner)| !blocks(id, owner)).map(|(id, _)| id)
    }

    pub fn answered(&mut self, id: RequestId, outcome: Outcome, evidence: &Evidence, table: &LockTable) {
        match outcome {
            Outcome::Granted => self.granted(id),
            Outcome::Denied => {
                let request = self.end(id, State::Waiting);
                assert!(!request.patient, "a patient request is denied");
                let key = request.key;
                // A hold given up within the step counts: it was there when the request was refused.
                let taken = evidence.denied.contains(&key)
                    || self.granted_holds(key).any(|held| held.request.owner != request.owner)
                    || self.waiting(key).any(|waiter| waiter.request.patient)
                    || is_draining(key, table);
                assert!(taken, "{id:?} is denied although nobody holds or waits");
            }
            Outcome::Failed => {
                let by_holder = self.entries[&id].by_holder;
                let key = self.end(id, State::Waiting).key;
                assert!(evidence.failed.contains(&key), "{id:?} failed although the server did not");
                assert!(by_holder || self.held(key, table).next().is_none(), "{id:?} waited in this process only");
            }
            Outcome::Closed => {
                self.end(id, State::Closing);
            }
            Outcome::Deadlock => {
                let request = self.end(id, State::Waiting);
                assert!(request.patient && evidence.deadlock == Some(id), "{id:?} is refused for no deadlock");
            }
            Outcome::Lost => {
                self.end(id, State::Held);
                assert!(evidence.lost.contains(&id), "{id:?} is lost although its session is not");
            }
            Outcome::Released { hold } => self.confirmed(id, hold),
            Outcome::ReleaseFailed { hold } => {
                self.confirmed(id, hold);
                let key = self.entries[&hold].request.key;
                assert!(evidence.broken.contains(&key), "{hold:?} was not gone when it was given up");
            }
            Outcome::NotHeld => match self.tickets.remove(&id) {
                Some(Ticket::Deferred(owner, key, mode)) => {
                    let mine = |entry: &&Entry| entry.request.owner == owner && entry.request.mode == mode;
                    assert!(self.held(key, table).find(mine).is_none(), "a hold was overlooked");
                }
                ticket => panic!("nobody asked for the release {id:?}: {ticket:?}"),
            },
        }
    }

    fn granted(&mut self, id: RequestId) {
        let request = self.end(id, State::Waiting);
        let key = request.key;
        if !self.entries[&id].by_holder {
            let passed = self.waiting(key).find(|waiter| waiter.request.id < id && waiter.request.patient);
            assert!(passed.is_none(), "{id:?} was granted before {passed:?}");
            assert!(self.is_our_turn(key), "others on the server are kept waiting");
        }
        self.grants += 1;
        for entry in self.entries.values_mut().filter(|entry| entry.request.key == key) {
            entry.by_holder |= entry.state == State::Waiting && entry.request.owner == request.owner;
        }
        let entry = self.entries.get_mut(&id).expect("it was there a moment ago");
        (entry.state, entry.granted) = (State::Held, self.grants);
    }

    fn confirmed(&mut self, ticket: RequestId, hold: RequestId) {
        match self.tickets.remove(&ticket) {
            Some(Ticket::Holds(mut holds, left)) => {
                assert!(holds.remove(&hold), "{hold:?} was not given up with {ticket:?}");
                if left > 1 {
                    self.tickets.insert(ticket, Ticket::Holds(holds, left - 1));
                }
            }
            Some(Ticket::Deferred(owner, key, mode)) => {
                let request = self.end(hold, State::Held);
                assert_eq!(
                    (request.owner, request.key, request.mode),
                    (owner, key, mode),
                    "another's hold is given up"
                );
            }
            None => panic!("nobody asked for the release {ticket:?}"),
        }
    }

    /// What must be true whenever the table is not at work.
    pub fn check(&self, table: &LockTable, covers: impl Fn(Key, Mode) -> bool) {
        for (&id, entry) in &self.entries {
            let request = &entry.request;
            match entry.state {
                State::Waiting => assert!(table.knows(id), "{id:?} waits and is forgotten"),
                State::Closing => panic!("{id:?} was not told that its owner is closed"),
                State::Over => assert!(!table.knows(id), "{id:?} is over and not forgotten"),
                State::Held if table.knows(id) => {
                    assert!(!self.conflicts(request, table), "{id:?} is held against another hold");
                    assert!(covers(request.key, request.mode), "{id:?} is held without the server's lock");
                }
                State::Held => {
                    let deferred = self.tickets.values().any(|ticket| {
                        matches!(*ticket, Ticket::Deferred(owner, key, mode)
                            if (owner, key, mode) == (request.owner, request.key, request.mode))
                    });
                    assert!(deferred, "{id:?} is held and forgotten");
                }
            }
        }
    }

    /// What must be true once the server has nothing to do for us but the waits that it has `blocked`.
    pub fn check_at_rest(&self, table: &LockTable, blocked: &BTreeMap<Key, Mode>) {
        assert!(self.tickets.is_empty(), "releases are not answered: {:?}", self.tickets);
        for (key, mode) in blocked {
            assert!(self.waiting(*key).any(|waiter| waiter.request.mode == *mode), "a wait for nobody");
        }
        for waiter in self.entries.values().filter(|entry| entry.state == State::Waiting) {
            let Request { id, owner, key, patient, .. } = waiter.request;
            assert!(patient, "{id:?} does not wait and yet is not answered");
            let is_holder = self.held_by(owner, key, table);
            if is_holder {
                let other = self
                    .waiting(key)
                    .find(|other| other.request.owner != owner && self.held_by(other.request.owner, key, table));
                assert!(other.is_none(), "two holders wait for each other: {id:?} and {other:?}");
            }
            if blocked.contains_key(&key) {
                continue;
            }
            // What an owner asks for later may wait for what it asked for earlier, but not for those who wait for it.
            let mut mine = self.waiting(key).filter(|other| other.request.owner == owner);
            let is_blocked = mine.any(|other| other.request.id <= id && self.conflicts(&other.request, table));
            assert!(!is_holder || is_blocked, "{id:?} waits for nobody");
            let has_reason = self.waiting(key).any(|other| self.conflicts(&other.request, table))
                || (is_draining(key, table) && self.held(key, table).next().is_some());
            assert!(has_reason, "nobody wakes {id:?}");
        }
    }

    /// The server was asked for the key, or whether others wait for it.
    pub fn turn_begins(&mut self, key: Key, contended: bool) {
        if contended {
            self.taken.remove(&key);
        } else {
            self.taken.insert(key, self.now);
        }
    }

    fn is_our_turn(&self, key: Key) -> bool {
        self.taken.get(&key).is_some_and(|taken| self.now - taken < TENURE)
    }

    /// The hold that a release without a name means.
    pub fn latest_hold(&self, owner: OwnerId, key: Key, mode: Mode, table: &LockTable) -> Option<RequestId> {
        let mine = |entry: &&Entry| entry.request.owner == owner && entry.request.mode == mode;
        let latest = |scoped: bool| {
            self.held(key, table)
                .filter(mine)
                .filter(|entry| entry.request.scoped == scoped)
                .max_by_key(|entry| entry.granted)
        };
        latest(false).or_else(|| latest(true)).map(|entry| entry.request.id)
    }

    /// Waiting or held, with their keys.
    pub fn live(&self) -> Vec<(RequestId, Key)> {
        let live = |entry: &&Entry| matches!(entry.state, State::Waiting | State::Held);
        self.entries.values().filter(live).map(|entry| (entry.request.id, entry.request.key)).collect()
    }

    pub fn is_held(&self, id: RequestId, table: &LockTable) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.state == State::Held) && table.knows(id)
    }

    pub fn is_held_in(&self, key: Key, mode: Mode, table: &LockTable) -> bool {
        self.held(key, table).any(|held| held.request.mode == mode)
    }

    pub fn key(&self, id: RequestId) -> Key {
        self.entries[&id].request.key
    }

    pub fn is_used(&self, key: Key, table: &LockTable) -> bool {
        self.waiting(key).next().is_some() || self.held(key, table).next().is_some()
    }

    fn held<'a>(&'a self, key: Key, table: &'a LockTable) -> impl Iterator<Item = &'a Entry> + 'a {
        self.granted_holds(key).filter(|entry| table.knows(entry.request.id))
    }

    /// Those held and those that a deferred release has just given up.
    fn granted_holds(&self, key: Key) -> impl Iterator<Item = &Entry> + '_ {
        self.entries.values().filter(move |entry| entry.state == State::Held && entry.request.key == key)
    }

    fn waiting(&self, key: Key) -> impl Iterator<Item = &Entry> + '_ {
        self.entries.values().filter(move |entry| entry.state == State::Waiting && entry.request.key == key)
    }

    fn held_by(&self, owner: OwnerId, key: Key, table: &LockTable) -> bool {
        self.held(key, table).any(|entry| entry.request.owner == owner)
    }

    fn conflicts(&self, request: &Request, table: &LockTable) -> bool {
        self.held(request.key, table)
            .any(|held| held.request.owner != request.owner && request.mode.conflicts_with(held.request.mode))
    }

    fn end(&mut self, id: RequestId, expected: State) -> Request {
        let entry = self.entries.get_mut(&id).expect("an answer to nobody");
        assert_eq!(entry.state, expected, "the wrong moment for an answer to {id:?}");
        entry.state = State::Over;
        entry.request.clone()
    }

    fn set(&mut self, id: RequestId, state: State) {
        self.entries.get_mut(&id).expect("the test made the request").state = state;
    }
}

fn is_draining(key: Key, table: &LockTable) -> bool {
    state_of(table, key).is_some_and(|state| state.draining)
}
