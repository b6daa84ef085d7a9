//! One key: who holds it, who waits, what the server does about it. Decides; the table carries out.

use super::arena::Place;
use super::effects::{Admission, Confirmation, Operation, Outcome, Request, Rules, Ticks};
use super::requests::{Entry, Requests};
use super::users::Users;
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
    pub users: Users,
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
            users: Users::default(),
            since: 0,
            draining: false,
            probing: false,
            taken_elsewhere: false,
            confirmations: SmallVec::new(),
        }
    }

    /// What becomes of a new request, before anything is changed.
    pub fn admit(&self, request: &Request, requests: &Requests, rules: Rules, now: Ticks) -> Admission {
        let holder = self.users.is_holder(request.owner, requests);
        let conflict = self.users.conflicts(request.owner, request.mode, requests);
        let covered = self.server.is_some_and(|server| server.covers(request.mode));
        let over = self.tenure_is_over(rules.tenure, now);
        let may_join = self.users.queue.is_empty() && !self.draining && !over;
        if covered && !conflict && (holder || may_join) {
            return Admission::Granted;
        }
        if request.patient {
            let deadlock = conflict && holder && self.users.another_holder_waits(request.owner, requests);
            return if deadlock { Admission::Deadlock } else { Admission::Pending };
        }
        let behind_waiters = match self.phase {
            Phase::Waiting { cancelled, .. } => !cancelled,
            Phase::Idle => !self.users.queue.is_empty() && !self.probing && !holder,
            Phase::Trying(_) | Phase::Releasing | Phase::Downgrading { .. } => false,
        };
        if conflict || behind_waiters || (self.draining && !over && !holder) {
            Admission::Denied
        } else {
            Admission::Pending
        }
    }

    /// Takes a hold out. Returns what [`Users::remove_hold`] does.
    pub fn remove_hold(&mut self, place: Place, requests: &mut Requests) -> Option<RequestId> {
        if let Some(server) = &mut self.server {
            server.downgrade_refused = false;
        }
        self.users.remove_hold(place, requests)
    }

    /// Takes the next waiter that can be answered from the queue, or starts the next operation.
    pub fn next(
        &mut self,
        requests: &mut Requests,
        rules: Rules,
        now: Ticks,
        operations: &mut Vec<Operation>,
    ) -> Option<(Place, Outcome)> {
        if self.phase != Phase::Idle {
            return None;
        }
        let Some(head) = self.users.queue.first(requests) else {
            self.give_up_what_nobody_needs(operations);
            return None;
        };
        let Entry { mode, patient, owner, .. } = requests.entries[head];
        if self.users.conflicts(owner, mode, requests) {
            return self.hold_back(requests, operations);
        }
        let holder = self.users.is_holder(owner, requests);
        let step = Step::Try { key: self.key, mode };
        match self.server {
            None => {
                self.phase = Phase::Trying(mode);
                operations.push(Operation::Do { step, home: None, patient });
            }
            Some(server) if server.covers(mode) => {
                let over = self.tenure_is_over(rules.tenure, now);
                if holder || (!over && !self.draining) {
                    self.users.dequeue(head, requests);
                    return Some((head, Outcome::Granted));
                }
                if self.users.held() == 0 {
                    self.requeue(mode, patient, rules, operations);
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
            Some(_) => self.requeue(mode, patient, rules, operations),
        }
        None
    }

    /// The head cannot have the key now. Who does not wait is refused: the head itself, or those behind it.
    fn hold_back(&mut self, requests: &mut Requests, operations: &mut Vec<Operation>) -> Option<(Place, Outcome)> {
        let Some(place) = self.users.queue.first_impatient() else {
            self.give_up_what_nobody_needs(operations);
            return None;
        };
        self.users.dequeue(place, requests);
        Some((place, Outcome::Denied))
    }

    /// What the server has, which it is to have no more.
    fn take_server(&mut self) -> ServerHold {
        self.probing = false;
        self.draining = false;
        self.server.take().expect("BUG: a lock that is not held cannot be given up")
    }

    fn give_up(&mut self, operations: &mut Vec<Operation>) {
        let ServerHold { home, held, .. } = self.take_server();
        self.phase = Phase::Releasing;
        let step = Step::Release { key: self.key, held };
        operations.push(Operation::Do { step, home: Some(home), patient: false });
    }

    fn give_up_what_nobody_needs(&mut self, operations: &mut Vec<Operation>) {
        let Some(server) = &mut self.server else { return };
        let (key, home) = (self.key, server.home);
        if self.users.held() == 0 {
            self.give_up(operations);
        } else if server.held.exclusive && !server.downgrade_refused && !self.users.has_exclusive_holds() {
            let take_shared = !server.held.shared;
            server.held = Modes::only(Mode::Shared);
            self.phase = Phase::Downgrading { take_shared };
            let step = Step::Downgrade { key, take_shared };
            operations.push(Operation::Do { step, home: Some(home), patient: false });
        }
    }

    /// The head is to get the key after those who wait on the server.
    fn requeue(&mut self, mode: Mode, patient: bool, rules: Rules, operations: &mut Vec<Operation>) {
        if !rules.requeues {
            return self.give_up(operations);
        }
        let ServerHold { home, held, .. } = self.take_server();
        self.phase = Phase::Trying(mode);
        let step = Step::Requeue { key: self.key, held, mode };
        operations.push(Operation::Do { step, home: Some(home), patient });
    }

    pub fn is_unused(&self) -> bool {
        self.phase == Phase::Idle && self.server.is_none() && self.users.is_empty()
    }

    /// Whether a release just made must wait for the server before it is reported.
    pub fn release_is_unconfirmed(&self) -> bool {
        match self.phase {
            Phase::Releasing | Phase::Downgrading { .. } => true,
            Phase::Trying(_) | Phase::Waiting { .. } => self.server.is_some() && self.users.is_empty(),
            Phase::Idle => false,
        }
    }

    /// Whether a wait under way still serves the head of the queue.
    pub fn wait_is_wanted(&self, mode: Mode, requests: &Requests) -> bool {
        self.users.queue.first(requests).map(|head| &requests.entries[head]).is_some_and(|head| {
            head.mode == mode && (self.server.is_none() || self.users.is_holder(head.owner, requests))
        })
    }

    /// Whether a request of `owner` is queued that may yet be granted by an answer on its way, without anybody's release.
    pub fn is_undecided(&self, owner: OwnerId, mode: Mode, requests: &Requests) -> bool {
        let answer_is_near = match self.phase {
            Phase::Trying(_) | Phase::Releasing | Phase::Downgrading { .. } => true,
            Phase::Waiting { cancelled, .. } => cancelled,
            Phase::Idle => self.probing,
        };
        answer_is_near && self.users.waits_in(owner, mode, requests)
    }

    fn tenure_is_over(&self, tenure: Ticks, now: Ticks) -> bool {
        self.server.is_some() && now.saturating_sub(self.since) >= tenure
    }
}
