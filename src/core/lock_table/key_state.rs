//! One key: who holds it, who waits, what the server does about it. Decides; the table carries out.

use super::arena::{List, Place};
use super::crowd::{Crowd, CROWD};
use super::effects::{Admission, Confirmation, Operation, Outcome, Request, Ticks};
use super::queue::Queue;
use super::requests::{Entry, Requests, Stage, LINE};
use crate::core::{Key, Mode, Modes, OwnerId, RequestId, SessionId, Step};
use smallvec::SmallVec;

/// What the process holds on the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerHold {
    pub home: SessionId,
    pub held: Modes,
    /// The server refused to exchange the exclusive lock for a shared one.
    pub downgrade_refused: bool,
}

impl ServerHold {
    pub fn none(home: SessionId) -> ServerHold {
        ServerHold { home, held: Modes::NONE, downgrade_refused: false }
    }

    fn covers(self, mode: Mode) -> bool {
        self.held.exclusive || (self.held.shared && mode == Mode::Shared)
    }
}

/// The operation under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Idle,
    Trying(Mode),
    Waiting {
        mode: Mode,
        cancelled: bool,
    },
    Releasing,
    Downgrading {
        take_shared: bool,
    },
}

#[derive(Debug)]
pub(super) struct KeyState {
    pub key: Key,
    /// `None` from the moment that it is to be given up.
    pub server: Option<ServerHold>,
    /// The session that the key is listed with, which follows `server`.
    pub listed: Option<SessionId>,
    pub phase: Phase,
    pub queue: Queue,
    holds: List<LINE>,
    held: u32,
    held_exclusively: u32,
    waiting: u32,
    /// What each owner has, where there are many requests.
    crowd: Option<Box<Crowd>>,
    /// When the server lock was taken, or who waits for it on the server was last looked up.
    pub since: Ticks,
    /// Others waited on the server then: let the shared holds run out, admit no new ones.
    pub draining: bool,
    /// A [`Operation::Probe`] is under way.
    pub probing: bool,
    /// The server's last word is that somebody else has the key.
    pub taken_elsewhere: bool,
    pub confirmations: SmallVec<[Confirmation; 1]>,
}

impl KeyState {
    pub fn new(key: Key) -> KeyState {
        KeyState {
            key,
            server: None,
            listed: None,
            phase: Phase::Idle,
            queue: Queue::default(),
            holds: List::default(),
            held: 0,
            held_exclusively: 0,
            waiting: 0,
            crowd: None,
            since: 0,
            draining: false,
            probing: false,
            taken_elsewhere: false,
            confirmations: SmallVec::new(),
        }
    }

    /// What becomes of a new request, before anything is changed.
    pub fn admit(&self, request: &Request, requests: &Requests, tenure: Ticks, now: Ticks) -> Admission {
        let holder = self.is_holder(request.owner, requests);
        let conflict = self.conflicts(request.owner, request.mode, requests);
        let covered = self.server.is_some_and(|server| server.covers(request.mode));
        let over = self.tenure_is_over(tenure, now);
        let may_join = self.queue.is_empty() && !self.draining && !over;
        if covered && !conflict && (holder || may_join) {
            return Admission::Granted;
        }
        if request.patient {
            let deadlock = conflict && holder && self.another_holder_waits(request.owner, requests);
            return if deadlock { Admission::Deadlock } else { Admission::Pending };
        }
        let behind_waiters = match self.phase {
            Phase::Waiting { cancelled, .. } => !cancelled,
            Phase::Idle => !self.queue.is_empty() && !self.probing && !holder,
            Phase::Trying(_) | Phase::Releasing | Phase::Downgrading { .. } => false,
        };
        if conflict || behind_waiters || (self.draining && !over && !holder) {
            Admission::Denied
        } else {
            Admission::Pending
        }
    }

    /// Where a new request of this owner waits.
    pub fn stage_of_wait(&self, owner: OwnerId, requests: &Requests) -> Stage {
        if self.is_holder(owner, requests) {
            Stage::WaitsAsHolder
        } else {
            Stage::Waits
        }
    }

    /// Queues a request.
    pub fn enqueue(&mut self, place: Place, requests: &mut Requests) {
        self.queue.push(requests, place);
        self.waiting += 1;
        self.join_crowd(place, requests);
    }

    /// Takes a request out of the queue.
    pub fn leave_queue(&mut self, place: Place, requests: &mut Requests) {
        self.leave_crowd(place, requests);
        self.queue.remove(requests, place);
        self.waiting -= 1;
    }

    /// Makes a request that is in no queue a hold. What else its owner waits for now goes before those who wait for this hold;
    /// the oldest of what has moved so.
    pub fn add_hold(&mut self, place: Place, requests: &mut Requests) -> Option<RequestId> {
        let Entry { owner, mode, .. } = requests.entries[place];
        let moved = if self.is_holder(owner, requests) { Vec::new() } else { self.waits_of(owner, requests) };
        let oldest = oldest_of(&moved, requests);
        self.queue.move_up(requests, moved);
        self.holds.push_back(&mut requests.entries, place);
        self.held += 1;
        self.held_exclusively += u32::from(mode == Mode::Exclusive);
        self.join_crowd(place, requests);
        oldest
    }

    /// Takes a hold out. If it was the owner's last one, what else the owner waits for goes behind those who hold the key; the
    /// oldest of what has moved so.
    pub fn remove_hold(&mut self, place: Place, requests: &mut Requests) -> Option<RequestId> {
        let Entry { owner, mode, .. } = requests.entries[place];
        self.leave_crowd(place, requests);
        self.holds.remove(&mut requests.entries, place);
        self.held -= 1;
        self.held_exclusively -= u32::from(mode == Mode::Exclusive);
        if let Some(server) = &mut self.server {
            server.downgrade_refused = false;
        }
        let moved = if self.is_holder(owner, requests) { Vec::new() } else { self.waits_of(owner, requests) };
        let oldest = oldest_of(&moved, requests);
        self.queue.move_down(requests, moved);
        oldest
    }

    /// Takes the next waiter that can be answered from the queue, or starts the next operation.
    pub fn next(
        &mut self,
        requests: &mut Requests,
        tenure: Ticks,
        now: Ticks,
        operations: &mut Vec<Operation>,
    ) -> Option<(Place, Outcome)> {
        if self.phase != Phase::Idle {
            return None;
        }
        let Some(head) = self.queue.first(requests) else {
            self.give_up_what_nobody_needs(operations);
            return None;
        };
        let Entry { mode, patient, owner, .. } = requests.entries[head];
        if self.conflicts(owner, mode, requests) {
            return self.hold_back(requests, operations);
        }
        let holder = self.is_holder(owner, requests);
        let step = Step::Try { key: self.key, mode };
        match self.server {
            None => {
                self.phase = Phase::Trying(mode);
                operations.push(Operation::Do { step, home: None, patient });
            }
            Some(server) if server.covers(mode) => {
                let over = self.tenure_is_over(tenure, now);
                if holder || (!over && !self.draining) {
                    self.leave_queue(head, requests);
                    return Some((head, Outcome::Granted));
                }
                if self.holds.is_empty() {
                    self.requeue(mode, patient, operations);
                } else if !over {
                    return self.hold_back(requests, operations);
                } else if !self.probing {
                    // Who waits only because the lock is stronger than need be is no reason to drain.
                    self.give_up_what_nobody_needs(operations);
                    if self.phase == Phase::Idle {
                        self.probing = true;
                        operations.push(Operation::Probe { key: self.key, home: server.home });
                    }
                }
            }
            Some(server) if holder => {
                self.phase = Phase::Trying(mode);
                operations.push(Operation::Do { step, home: Some(server.home), patient });
            }
            // No holder and no conflict: the server lock is left over, and too weak.
            Some(_) => self.requeue(mode, patient, operations),
        }
        None
    }

    /// The head cannot have the key now. Who does not wait is refused: the head itself, or those behind it.
    fn hold_back(&mut self, requests: &mut Requests, operations: &mut Vec<Operation>) -> Option<(Place, Outcome)> {
        let Some(place) = self.queue.first_impatient() else {
            self.give_up_what_nobody_needs(operations);
            return None;
        };
        self.leave_queue(place, requests);
        Some((place, Outcome::Denied))
    }

    fn give_up_what_nobody_needs(&mut self, operations: &mut Vec<Operation>) {
        let Some(server) = &mut self.server else { return };
        let (key, home) = (self.key, server.home);
        if self.holds.is_empty() {
            let step = Step::Release { key, held: server.held };
            self.server = None;
            self.probing = false;
            self.draining = false;
            self.phase = Phase::Releasing;
            operations.push(Operation::Do { step, home: Some(home), patient: false });
        } else if server.held.exclusive && !server.downgrade_refused && self.held_exclusively == 0 {
            let take_shared = !server.held.shared;
            server.held = Modes::only(Mode::Shared);
            self.phase = Phase::Downgrading { take_shared };
            let step = Step::Downgrade { key, take_shared };
            operations.push(Operation::Do { step, home: Some(home), patient: false });
        }
    }

    fn requeue(&mut self, mode: Mode, patient: bool, operations: &mut Vec<Operation>) {
        let ServerHold { home, held, .. } =
            self.server.take().expect("BUG: a lock that is not held cannot be handed on");
        self.probing = false;
        self.draining = false;
        self.phase = Phase::Trying(mode);
        let step = Step::Requeue { key: self.key, held, mode };
        operations.push(Operation::Do { step, home: Some(home), patient });
    }

    pub fn is_unused(&self) -> bool {
        self.phase == Phase::Idle && self.server.is_none() && self.held == 0 && self.waiting == 0
    }

    /// Whether a release just made must wait for the server before it is reported.
    pub fn release_is_unconfirmed(&self) -> bool {
        match self.phase {
            Phase::Releasing | Phase::Downgrading { .. } => true,
            Phase::Trying(_) | Phase::Waiting { .. } => self.server.is_some() && self.held == 0 && self.waiting == 0,
            Phase::Idle => false,
        }
    }

    /// Whether a wait under way still serves the head of the queue.
    pub fn wait_is_wanted(&self, mode: Mode, requests: &Requests) -> bool {
        self.queue
            .first(requests)
            .map(|head| &requests.entries[head])
            .is_some_and(|head| head.mode == mode && (self.server.is_none() || self.is_holder(head.owner, requests)))
    }

    /// The hold that a release without a name means.
    pub fn latest_hold(&self, owner: OwnerId, mode: Mode, requests: &Requests) -> Option<Place> {
        let latest = |scoped: bool| match &self.crowd {
            Some(crowd) => crowd.share(owner)?.latest_hold(mode, scoped),
            None => self.holds.iter_back(&requests.entries).find(|&place| {
                let hold = &requests.entries[place];
                hold.owner == owner && hold.mode == mode && hold.scoped == scoped
            }),
        };
        latest(false).or_else(|| latest(true))
    }

    /// Whether a request of `owner` is queued that may yet be granted by an answer on its way, without anybody's release.
    pub fn is_undecided(&self, owner: OwnerId, mode: Mode, requests: &Requests) -> bool {
        let answer_is_near = match self.phase {
            Phase::Trying(_) | Phase::Releasing | Phase::Downgrading { .. } => true,
            Phase::Waiting { cancelled, .. } => cancelled,
            Phase::Idle => self.probing,
        };
        answer_is_near
            && match &self.crowd {
                Some(crowd) => crowd.share(owner).is_some_and(|share| share.waits_in(mode)),
                None => self.queue.iter(requests).any(|place| {
                    let waiter = &requests.entries[place];
                    waiter.owner == owner && waiter.mode == mode
                }),
            }
    }

    /// Everybody who holds the key, in the order of the grants.
    pub fn holds<'a>(&self, requests: &'a Requests) -> impl Iterator<Item = Place> + 'a {
        self.holds.iter(&requests.entries)
    }

    /// How many holds there are.
    pub fn held(&self) -> usize {
        self.held as usize
    }

    /// The request of an owner that was the first of those that have become holds in such a mode.
    pub fn oldest_hold(
        &self,
        owner: OwnerId,
        is_meant: impl Fn(Mode) -> bool,
        requests: &Requests,
    ) -> Option<RequestId> {
        let oldest = |holds: &mut dyn Iterator<Item = Place>| {
            let holds = holds.map(|place| &requests.entries[place]);
            holds.filter(|hold| hold.owner == owner && is_meant(hold.mode)).map(|hold| hold.id).min()
        };
        match &self.crowd {
            Some(crowd) => oldest(&mut crowd.share(owner)?.holds(&requests.entries)),
            None => oldest(&mut self.holds(requests)),
        }
    }

    /// Whether the owner, which may still ask for something, holds the key.
    pub fn is_holder(&self, owner: OwnerId, requests: &Requests) -> bool {
        self.held > 0 && !owner.is_of_one_call() && self.held_by(owner, requests) > 0
    }

    /// Whether somebody else holds the key in a mode that excludes this one.
    pub fn conflicts(&self, owner: OwnerId, mode: Mode, requests: &Requests) -> bool {
        match mode {
            _ if self.held == 0 => false,
            Mode::Shared if self.held_exclusively == 0 => false,
            // Who holds exclusively has all holds.
            Mode::Shared => self.holds.first().is_some_and(|place| requests.entries[place].owner != owner),
            Mode::Exclusive => self.held_by(owner, requests) < self.held(),
        }
    }

    fn held_by(&self, owner: OwnerId, requests: &Requests) -> usize {
        match &self.crowd {
            Some(crowd) => crowd.share(owner).map_or(0, |share| share.held()),
            None => self.holds(requests).filter(|&place| requests.entries[place].owner == owner).count(),
        }
    }

    /// Whether another one who holds the key waits for it.
    fn another_holder_waits(&self, owner: OwnerId, requests: &Requests) -> bool {
        match &self.crowd {
            Some(crowd) => self.queue.patient_holders() > crowd.share(owner).map_or(0, |share| share.patient()),
            None => self.queue.holders(requests).any(|place| requests.entries[place].owner != owner),
        }
    }

    fn waits_of(&self, owner: OwnerId, requests: &Requests) -> Vec<Place> {
        match &self.crowd {
            _ if self.waiting == 0 || owner.is_of_one_call() => Vec::new(),
            Some(crowd) => crowd.share(owner).map_or(Vec::new(), |share| share.waits(&requests.entries).collect()),
            None => self.queue.iter(requests).filter(|&place| requests.entries[place].owner == owner).collect(),
        }
    }

    fn join_crowd(&mut self, place: Place, requests: &mut Requests) {
        let count = (self.held + self.waiting) as usize;
        if let Some(crowd) = &mut self.crowd {
            crowd.add(&mut requests.entries, place);
        } else if count > CROWD {
            let all: Vec<Place> = self.holds(requests).chain(self.queue.iter(requests)).collect();
            self.crowd = Some(Box::new(Crowd::of(&mut requests.entries, all.into_iter())));
        }
    }

    fn leave_crowd(&mut self, place: Place, requests: &mut Requests) {
        let count = (self.held + self.waiting) as usize;
        if let Some(crowd) = &mut self.crowd {
            crowd.take_out(&mut requests.entries, place);
            if count <= CROWD / 2 {
                self.crowd = None;
            }
        }
    }

    fn tenure_is_over(&self, tenure: Ticks, now: Ticks) -> bool {
        self.server.is_some() && now.saturating_sub(self.since) >= tenure
    }
}

fn oldest_of(waits: &[Place], requests: &Requests) -> Option<RequestId> {
    waits.iter().map(|&place| requests.entries[place].id).min()
}
