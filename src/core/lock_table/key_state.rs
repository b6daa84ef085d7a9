//! One key: who holds it, who waits, what the server does about it. Decides; the table carries out.

use super::effects::{Admission, Confirmation, Operation, Outcome, Request, Ticks};
use crate::core::{Key, Mode, Modes, OwnerId, RequestId, SessionId, Step};
use smallvec::SmallVec;
use std::collections::VecDeque;

/// A granted request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub request: RequestId,
    pub owner: OwnerId,
    pub mode: Mode,
    scoped: bool,
}

impl From<&Request> for Hold {
    fn from(request: &Request) -> Hold {
        Hold { request: request.id, owner: request.owner, mode: request.mode, scoped: request.scoped }
    }
}

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

#[derive(Debug, Default)]
pub(super) struct KeyState {
    /// `None` from the moment that it is to be given up.
    pub server: Option<ServerHold>,
    pub phase: Phase,
    /// Inline for the one that there mostly is: ten thousand keys have ten thousand of these.
    pub holds: SmallVec<[Hold; 1]>,
    pub queue: VecDeque<Request>,
    /// When the server lock was taken, or who waits for it on the server was last looked up.
    pub since: Ticks,
    /// Others waited on the server then: let the shared holds run out, admit no new ones.
    pub draining: bool,
    /// A [`Operation::Probe`] is under way.
    pub probing: bool,
    pub confirmations: SmallVec<[Confirmation; 1]>,
}

impl KeyState {
    /// What becomes of a new request, before anything is changed.
    pub fn admit(&self, request: &Request, tenure: Ticks, now: Ticks) -> Admission {
        let holder = self.is_holder(request.owner);
        let conflict = self.conflicts(request.owner, request.mode);
        let covered = self.server.is_some_and(|server| server.covers(request.mode));
        let over = self.tenure_is_over(tenure, now);
        let may_join = self.queue.is_empty() && !self.draining && !over;
        if covered && !conflict && (holder || may_join) {
            return Admission::Granted;
        }
        if request.patient {
            let upgrade_waits = holder
                && self
                    .queue
                    .iter()
                    .any(|waiter| waiter.owner != request.owner && waiter.patient && self.is_holder(waiter.owner));
            return if conflict && upgrade_waits { Admission::Deadlock } else { Admission::Pending };
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

    /// Queues a request: at the end, or before those who wait for what its owner holds.
    pub fn enqueue(&mut self, request: Request) {
        let place = if self.is_holder(request.owner) {
            self.queue.iter().position(|waiter| !self.is_holder(waiter.owner)).unwrap_or(self.queue.len())
        } else {
            self.queue.len()
        };
        if self.queue.capacity() == 0 {
            // Most requests are alone.
            self.queue.reserve_exact(1);
        }
        self.queue.insert(place, request);
    }

    /// Makes a request a hold. What else its owner waits for now goes before those who wait for this hold.
    pub fn grant(&mut self, request: &Request) {
        let owner = request.owner;
        let moves_up = !self.is_holder(owner) && self.queue.iter().any(|waiter| waiter.owner == owner);
        self.holds.push(Hold::from(request));
        if moves_up {
            let (mut queue, others): (VecDeque<_>, VecDeque<_>) =
                self.queue.drain(..).partition(|waiter| self.holds.iter().any(|hold| hold.owner == waiter.owner));
            queue.extend(others);
            self.queue = queue;
        }
    }

    /// Takes the next waiter that can be answered from the queue, or starts the next operation.
    pub fn next(
        &mut self,
        key: Key,
        tenure: Ticks,
        now: Ticks,
        operations: &mut Vec<Operation>,
    ) -> Option<(Request, Outcome)> {
        if self.phase != Phase::Idle {
            return None;
        }
        let Some(head) = self.queue.front() else {
            self.give_up_what_nobody_needs(key, operations);
            return None;
        };
        let (mode, patient, holder) = (head.mode, head.patient, self.is_holder(head.owner));
        if self.conflicts(head.owner, mode) {
            return self.hold_back(key, operations);
        }
        match self.server {
            None => {
                self.phase = Phase::Trying(mode);
                operations.push(Operation::Do { step: Step::Try { key, mode }, home: None, patient });
            }
            Some(server) if server.covers(mode) => {
                let over = self.tenure_is_over(tenure, now);
                if holder || (!over && !self.draining) {
                    return self.queue.pop_front().map(|waiter| (waiter, Outcome::Granted));
                }
                if self.holds.is_empty() {
                    self.requeue(key, mode, patient, operations);
                } else if !over {
                    return self.hold_back(key, operations);
                } else if !self.probing {
                    // Who waits only because the lock is stronger than need be is no reason to drain.
                    self.give_up_what_nobody_needs(key, operations);
                    if self.phase == Phase::Idle {
                        self.probing = true;
                        operations.push(Operation::Probe { key, home: server.home });
                    }
                }
            }
            Some(server) if holder => {
                self.phase = Phase::Trying(mode);
                operations.push(Operation::Do { step: Step::Try { key, mode }, home: Some(server.home), patient });
            }
            // No holder and no conflict: the server lock is left over, and too weak.
            Some(_) => self.requeue(key, mode, patient, operations),
        }
        None
    }

    /// The head cannot have the key now. Who does not wait is refused: the head itself, or those behind it.
    fn hold_back(&mut self, key: Key, operations: &mut Vec<Operation>) -> Option<(Request, Outcome)> {
        let Some(index) = self.queue.iter().position(|waiter| !waiter.patient) else {
            self.give_up_what_nobody_needs(key, operations);
            return None;
        };
        self.queue.remove(index).map(|waiter| (waiter, Outcome::Denied))
    }

    fn give_up_what_nobody_needs(&mut self, key: Key, operations: &mut Vec<Operation>) {
        let Some(server) = &mut self.server else { return };
        let home = server.home;
        if self.holds.is_empty() {
            let step = Step::Release { key, held: server.held };
            self.server = None;
            self.probing = false;
            self.draining = false;
            self.phase = Phase::Releasing;
            operations.push(Operation::Do { step, home: Some(home), patient: false });
        } else if server.held.exclusive
            && !server.downgrade_refused
            && self.holds.iter().all(|hold| hold.mode == Mode::Shared)
        {
            let take_shared = !server.held.shared;
            server.held = Modes::only(Mode::Shared);
            self.phase = Phase::Downgrading { take_shared };
            let step = Step::Downgrade { key, take_shared };
            operations.push(Operation::Do { step, home: Some(home), patient: false });
        }
    }

    fn requeue(&mut self, key: Key, mode: Mode, patient: bool, operations: &mut Vec<Operation>) {
        let ServerHold { home, held, .. } =
            self.server.take().expect("BUG: a lock that is not held cannot be handed on");
        self.probing = false;
        self.draining = false;
        self.phase = Phase::Trying(mode);
        operations.push(Operation::Do { step: Step::Requeue { key, held, mode }, home: Some(home), patient });
    }

    pub fn is_unused(&self) -> bool {
        self.phase == Phase::Idle && self.server.is_none() && self.holds.is_empty() && self.queue.is_empty()
    }

    /// Whether a release just made must wait for the server before it is reported.
    pub fn release_is_unconfirmed(&self) -> bool {
        match self.phase {
            Phase::Releasing | Phase::Downgrading { .. } => true,
            Phase::Trying(_) | Phase::Waiting { .. } => {
                self.server.is_some() && self.holds.is_empty() && self.queue.is_empty()
            }
            Phase::Idle => false,
        }
    }

    /// Whether a wait under way still serves the head of the queue.
    pub fn wait_is_wanted(&self, mode: Mode) -> bool {
        self.queue
            .front()
            .is_some_and(|head| head.mode == mode && (self.server.is_none() || self.is_holder(head.owner)))
    }

    /// The hold that a release without a name means.
    pub fn latest_hold(&self, owner: OwnerId, mode: Mode) -> Option<usize> {
        let mine = |hold: &Hold| hold.owner == owner && hold.mode == mode;
        self.holds.iter().rposition(|hold| mine(hold) && !hold.scoped).or_else(|| self.holds.iter().rposition(mine))
    }

    /// Whether a request of `owner` is queued that may yet be granted by an answer on its way, without anybody's release.
    pub fn is_undecided(&self, owner: OwnerId, mode: Mode) -> bool {
        let answer_is_near = match self.phase {
            Phase::Trying(_) | Phase::Releasing | Phase::Downgrading { .. } => true,
            Phase::Waiting { cancelled, .. } => cancelled,
            Phase::Idle => self.probing,
        };
        answer_is_near && self.queue.iter().any(|waiter| waiter.owner == owner && waiter.mode == mode)
    }

    fn is_holder(&self, owner: OwnerId) -> bool {
        self.holds.iter().any(|hold| hold.owner == owner)
    }

    fn conflicts(&self, owner: OwnerId, mode: Mode) -> bool {
        self.holds.iter().any(|hold| hold.owner != owner && mode.conflicts_with(hold.mode))
    }

    fn tenure_is_over(&self, tenure: Ticks, now: Ticks) -> bool {
        self.server.is_some() && now.saturating_sub(self.since) >= tenure
    }
}
