//! The lock table between its callers and a simulated server, with everything in between delayed as one likes.

use super::model::{Evidence, Model, TENURE};
use super::server::Server;
use super::task::Task;
use super::{find_deadlock, request_id, state_of};
use crate::core::lock_table::{LockTable, Operation, Release, Request, Rules, Ticks};
use crate::core::{Key, Mode, Modes, OwnerId, RequestId, SessionId};
use std::collections::BTreeMap;

pub const KEYS: [Key; 2] = [Key::Pair(0, 1), Key::Single(1)];
/// Sessions of others are numbered from here.
pub const OTHERS: u64 = 1000;

pub struct World {
    pub table: LockTable,
    pub server: Server,
    pub model: Model,
    pub now: Ticks,
    /// How long an answer of the server takes while the world comes to rest.
    pub pace: Ticks,
    /// Whether patient tries are answered unasked, as their keys are known to be taken.
    pub foresight: bool,
    pub owners: Vec<OwnerId>,
    pub sessions: Vec<SessionId>,
    pub tasks: BTreeMap<Key, Task>,
    pub probes: Vec<(Key, SessionId)>,
    pub numbers: u64,
}

impl World {
    pub fn new(pace: Ticks, requeues: bool) -> World {
        World {
            table: LockTable::new(Rules { tenure: TENURE, requeues }),
            server: Server::default(),
            model: Model::default(),
            now: 0,
            pace,
            foresight: false,
            owners: (1..=3).map(OwnerId::new).collect(),
            sessions: (1..=3).map(SessionId).collect(),
            tasks: BTreeMap::new(),
            probes: Vec::new(),
            numbers: 100,
        }
    }

    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn pass(&mut self, time: Ticks) {
        self.now += time;
        self.model.now = self.now;
    }

    /// `alone`: as an owner of its own in the owner's group.
    pub fn acquire(&mut self, (owner, alone): (usize, bool), key: Key, mode: Mode, patient: bool, scoped: bool) {
        let id = request_id(self.number());
        let group = self.owners[owner % self.owners.len()];
        let owner = if alone { group.of_call(id) } else { group };
        let request = Request { id, owner, key, mode, patient, scoped };
        let admission = self.table.acquire(&request, self.now);
        self.model.requested(&request, admission, &self.table);
        self.follow(Evidence::default());
    }

    pub fn release(&mut self, index: usize) {
        let Some(hold) = self.pick(index) else { return };
        let ticket = request_id(self.number());
        let expected = self.model.is_held(hold, &self.table);
        let answer = self.table.release(hold, ticket, self.now);
        self.model.released(hold, expected, ticket, answer);
        self.check_done(hold, answer);
        self.follow(Evidence::default());
    }

    pub fn release_latest(&mut self, owner: usize, key: Key, mode: Mode) {
        let owner = self.owners[owner % self.owners.len()];
        let ticket = request_id(self.number());
        let expected = self.model.latest_hold(owner, key, mode, &self.table);
        let answer = self.table.release_latest(owner, key, mode, ticket, self.now);
        match expected {
            Some(hold) => {
                self.model.released(hold, true, ticket, answer);
                self.check_done(hold, answer);
            }
            None => self.model.deferred(owner, key, mode, ticket, answer),
        }
        self.follow(Evidence::default());
    }

    /// A release is over at once only where the process keeps the key for somebody else.
    fn check_done(&self, hold: RequestId, answer: Release) {
        if let Release::Done(_) = answer {
            let key = self.model.key(hold);
            let kept = self.model.is_used(key, &self.table) || self.ours(key).next().is_none();
            assert!(kept, "{hold:?} is still on the server");
        }
    }

    pub fn cancel(&mut self, index: usize) {
        let Some(request) = self.pick(index) else { return };
        // A hold that a deferred release has given up already is its business.
        if self.table.knows(request) {
            self.table.cancel(request, self.now);
            self.model.cancelled(request);
            self.follow(Evidence::default());
        }
    }

    pub fn close_owner(&mut self, index: usize) {
        let index = index % self.owners.len();
        let owner = std::mem::replace(&mut self.owners[index], OwnerId::new(self.numbers + 1));
        let ticket = request_id(self.number());
        let held = self.model.closing(owner, &self.table);
        let confirmations = self.table.close_owner(owner, ticket, self.now);
        self.model.closed(ticket, held, confirmations);
        self.follow(Evidence::default());
    }

    /// Another client of the server locks the key, or gives up its lock or its wait.
    pub fn disturb(&mut self, client: u64, key: Key, mode: Mode) {
        let other = SessionId(OTHERS + client);
        let held: Vec<Mode> =
            self.server.holders(key).filter(|(holder, _)| *holder == other).map(|(_, mode)| mode).collect();
        if self.server.is_waiting(other, key) {
            self.server.cancel(other, key);
        } else if held.is_empty() {
            self.server.lock(other, key, mode);
        } else {
            held.into_iter().for_each(|mode| assert!(self.server.unlock(other, key, mode)));
        }
    }

    /// Lets everything happen that happens by itself.
    pub fn come_to_rest(&mut self) {
        let limit = 50 + 20 * self.model.live().len();
        for _ in 0..limit {
            self.pass(self.pace);
            let moved = KEYS.iter().any(|&key| self.step(key));
            if !moved && self.probes.is_empty() {
                let mut blocked = BTreeMap::new();
                for (&key, task) in &self.tasks {
                    match task.operation {
                        Operation::Wait { mode, .. } => blocked.insert(key, mode),
                        other => panic!("{other:?} is stuck"),
                    };
                }
                self.model.check_at_rest(&self.table, &blocked);
                return self.check_economy();
            }
            if !moved {
                self.probe(0);
            }
        }
        panic!("the table keeps the server busy for ever: {:?}", self.table);
    }

    /// At rest the server holds no more than the holds need.
    fn check_economy(&self) {
        for key in KEYS {
            for (home, mode) in self.ours(key) {
                let refused = state_of(&self.table, key)
                    .and_then(|state| state.server)
                    .is_some_and(|server| server.downgrade_refused);
                let needed = self.model.is_held_in(key, mode, &self.table) || refused;
                // A shared lock from before an upgrade stays until both are given up.
                let left_over = mode == Mode::Shared && self.server.holds(home, key, Mode::Exclusive);
                assert!(needed || left_over, "{key:?} is locked for nobody");
            }
        }
    }

    /// Owners that wait keep what they hold: then all get on nevertheless, as one of each deadlock is refused.
    pub fn finish_without_deadlock(&mut self) {
        (0..10).for_each(|client| self.server.end(SessionId(OTHERS + client)));
        self.come_to_rest();
        while !self.model.live().is_empty() {
            if let Some(hold) = self.model.unblocked_hold(&self.table) {
                assert_ne!(find_deadlock(&mut self.table, 0, self.now), Some(hold), "a hold is no wait");
                let index = self.model.live().iter().position(|&(id, _)| id == hold).expect("it is live");
                self.release(index);
            } else {
                let youngest = find_deadlock(&mut self.table, 0, self.now);
                assert!(youngest.is_some(), "a deadlock that nobody sees: {:?}", self.model.live());
                let links = self.table.links(0, self.now);
                assert!(links.is_empty(), "nobody else is on the server: {links:?}");
                self.table.refuse(youngest.expect("it is there"), self.now);
                self.follow(Evidence { deadlock: youngest, ..Evidence::default() });
            }
            self.come_to_rest();
        }
        self.finish();
    }

    /// Everybody leaves, one after the other. Nothing may be left over.
    pub fn finish(&mut self) {
        (0..10).for_each(|client| self.server.end(SessionId(OTHERS + client)));
        self.come_to_rest();
        let requests = self.model.live().len();
        for _ in 0..requests {
            let held = self.model.live().iter().position(|&(id, _)| self.model.is_held(id, &self.table));
            let Some(index) = held else { break };
            self.release(index);
            self.come_to_rest();
        }
        assert!(self.model.live().is_empty(), "never granted: {:?}", self.model.live());
        assert!(self.table.is_empty() && self.table.requests.is_empty(), "left over: {:?}", self.table);
        assert!(KEYS.iter().all(|key| self.server.holders(*key).next().is_none()), "left on the server");
    }

    fn pick(&self, index: usize) -> Option<RequestId> {
        let live = self.model.live();
        live.get(index % live.len().max(1)).map(|&(request, _)| request)
    }

    pub fn ours(&self, key: Key) -> impl Iterator<Item = (SessionId, Mode)> + '_ {
        self.server.holders(key).filter(|(session, _)| session.0 < OTHERS)
    }

    pub fn check(&self) {
        self.model.check(&self.table, |key, mode| {
            let home = self.table.home(key).expect("a hold without a home");
            self.server.holds(home, key, mode) || self.server.holds(home, key, Mode::Exclusive)
        });
        for key in KEYS {
            let mut homes: Vec<SessionId> = self.ours(key).map(|(session, _)| session).collect();
            homes.dedup();
            assert!(homes.len() <= 1, "one key on several sessions");
            if !self.tasks.contains_key(&key) {
                assert_eq!(homes.first().copied(), self.table.home(key), "a lock that the table does not know of");
                let known = state_of(&self.table, key).and_then(|state| state.server);
                let held = homes.first().map_or(Modes::NONE, |&home| self.server.held(home, key));
                assert_eq!(
                    held,
                    known.map_or(Modes::NONE, |server| server.held),
                    "held otherwise than the table has it"
                );
            }
        }
    }
}
