//! Short words for the scenarios, which play on one key with one server session.

use super::request_id;
use crate::core::lock_table::{Admission, LockTable, Operation, Outcome, Release, Request, Rules, Ticks};
use crate::core::{Key, Mode, Modes, OwnerId, RequestId, SessionId, Step};

pub const KEY: Key = Key::Pair(1, 2);
pub const HOME: SessionId = SessionId(1);
pub const TENURE: Ticks = 20;
pub const A: OwnerId = OwnerId::new(1);
pub const B: OwnerId = OwnerId::new(2);
pub const C: OwnerId = OwnerId::new(3);
pub const D: OwnerId = OwnerId::new(4);
pub const X: Mode = Mode::Exclusive;
pub const S: Mode = Mode::Shared;

pub const CANCEL_WAIT: Operation = Operation::CancelWait { key: KEY };
pub const PROBE: Operation = Operation::Probe { key: KEY, home: HOME };

pub fn try_for(mode: Mode) -> Operation {
    Operation::Do { step: Step::Try { key: KEY, mode }, home: None, patient: true }
}

pub fn try_once(mode: Mode) -> Operation {
    Operation::Do { step: Step::Try { key: KEY, mode }, home: None, patient: false }
}

pub fn wait_for(mode: Mode) -> Operation {
    Operation::Wait { key: KEY, mode, home: None }
}

pub fn try_upgrade(patient: bool) -> Operation {
    Operation::Do { step: Step::Try { key: KEY, mode: X }, home: Some(HOME), patient }
}

pub fn wait_for_upgrade() -> Operation {
    Operation::Wait { key: KEY, mode: X, home: Some(HOME) }
}

/// Gives up what is held in these modes.
pub fn release_of(modes: &[Mode]) -> Operation {
    let held = Modes { exclusive: modes.contains(&X), shared: modes.contains(&S) };
    Operation::Do { step: Step::Release { key: KEY, held }, home: Some(HOME), patient: false }
}

/// Exchanges what is held in one mode for a lock in the other or the same.
pub fn requeue(held: Mode, wanted: Mode, patient: bool) -> Operation {
    let step = Step::Requeue { key: KEY, held: Modes::only(held), mode: wanted };
    Operation::Do { step, home: Some(HOME), patient }
}

pub fn downgrade(take_shared: bool) -> Operation {
    Operation::Do { step: Step::Downgrade { key: KEY, take_shared }, home: Some(HOME), patient: false }
}

pub struct Script {
    pub table: LockTable,
    pub now: Ticks,
    numbers: u64,
}

impl Script {
    pub fn new() -> Script {
        Script::by_rules(true)
    }

    fn by_rules(requeues: bool) -> Script {
        Script { table: LockTable::new(Rules { tenure: TENURE, requeues }), now: 0, numbers: 0 }
    }

    /// Begins with a hold.
    pub fn with_hold(owner: OwnerId, mode: Mode) -> (Script, RequestId) {
        Script::new().hold(owner, mode)
    }

    /// Begins with a hold, of which each release is confirmed.
    pub fn with_confirmed_hold(owner: OwnerId, mode: Mode) -> (Script, RequestId) {
        Script::by_rules(false).hold(owner, mode)
    }

    fn hold(self, owner: OwnerId, mode: Mode) -> (Script, RequestId) {
        let mut script = self;
        let hold = script.pending(owner, mode);
        script.acquired();
        script.brings(&[(hold, Outcome::Granted)], &[try_for(mode)]);
        (script, hold)
    }

    /// Begins with somebody's wait in the server's queue.
    pub fn with_wait(owner: OwnerId, mode: Mode) -> (Script, RequestId) {
        let mut script = Script::new();
        let waiter = script.pending(owner, mode);
        script.denied();
        script.brings(&[], &[try_for(mode), wait_for(mode)]);
        (script, waiter)
    }

    fn number(&mut self) -> RequestId {
        self.numbers += 1;
        request_id(self.numbers)
    }

    pub fn ask(&mut self, owner: OwnerId, mode: Mode, patient: bool, scoped: bool) -> (RequestId, Admission) {
        let id = self.number();
        let request = Request { id, owner, key: KEY, mode, patient, scoped };
        (id, self.table.acquire(&request, self.now))
    }

    fn asks(&mut self, owner: OwnerId, mode: Mode, patient: bool, expected: Admission) -> RequestId {
        let (request, admission) = self.ask(owner, mode, patient, false);
        assert_eq!(admission, expected);
        request
    }

    /// A lock that is held at once.
    pub fn granted(&mut self, owner: OwnerId, mode: Mode) -> RequestId {
        self.asks(owner, mode, true, Admission::Granted)
    }

    /// A lock that is not answered yet.
    pub fn pending(&mut self, owner: OwnerId, mode: Mode) -> RequestId {
        self.asks(owner, mode, true, Admission::Pending)
    }

    pub fn deadlock(&mut self, owner: OwnerId, mode: Mode) {
        self.asks(owner, mode, true, Admission::Deadlock);
    }

    /// A try that succeeds at once.
    pub fn try_granted(&mut self, owner: OwnerId, mode: Mode) -> RequestId {
        self.asks(owner, mode, false, Admission::Granted)
    }

    /// A try that is not answered yet.
    pub fn try_pending(&mut self, owner: OwnerId, mode: Mode) -> RequestId {
        self.asks(owner, mode, false, Admission::Pending)
    }

    /// A try that is refused at once.
    pub fn try_denied(&mut self, owner: OwnerId, mode: Mode) {
        self.asks(owner, mode, false, Admission::Denied);
    }

    /// A release that is over at once.
    pub fn release(&mut self, hold: RequestId) {
        let ticket = self.number();
        assert_eq!(self.table.release(hold, ticket, self.now), Release::Done(hold));
    }

    /// A release that waits for the server; its ticket.
    pub fn release_pending(&mut self, hold: RequestId) -> RequestId {
        let ticket = self.number();
        assert_eq!(self.table.release(hold, ticket, self.now), Release::Pending);
        ticket
    }

    pub fn release_latest(&mut self, owner: OwnerId, mode: Mode) -> (RequestId, Release) {
        let ticket = self.number();
        (ticket, self.table.release_latest(owner, KEY, mode, ticket, self.now))
    }

    /// A release without a name that is not answered yet; its ticket.
    pub fn release_latest_pending(&mut self, owner: OwnerId, mode: Mode) -> RequestId {
        let (ticket, answer) = self.release_latest(owner, mode);
        assert_eq!(answer, Release::Pending);
        ticket
    }

    pub fn cancel(&mut self, request: RequestId) {
        self.table.cancel(request, self.now);
        assert!(!self.table.knows(request));
    }

    /// The ticket and how many confirmations follow.
    pub fn close(&mut self, owner: OwnerId) -> (RequestId, usize) {
        let ticket = self.number();
        (ticket, self.table.close_owner(owner, ticket, self.now))
    }

    pub fn acquired(&mut self) {
        self.table.acquired(KEY, HOME, self.now);
    }

    pub fn denied(&mut self) {
        self.table.denied(KEY, self.now);
    }

    pub fn wait_ended(&mut self) {
        self.table.wait_ended(KEY, self.now);
    }

    pub fn acquire_failed(&mut self) {
        self.table.acquire_failed(KEY, self.now);
    }

    pub fn released(&mut self) {
        self.table.released(KEY, true, self.now);
    }

    pub fn release_failed(&mut self) {
        self.table.released(KEY, false, self.now);
    }

    pub fn downgraded(&mut self, done: bool) {
        self.table.downgraded(KEY, done, self.now);
    }

    pub fn probed(&mut self, contended: bool) {
        self.table.probed(KEY, contended, self.now);
    }

    pub fn lose_session(&mut self) {
        self.table.session_lost(HOME, self.now);
    }

    /// What has come of it since the last look, and nothing else.
    pub fn brings(&mut self, outcomes: &[(RequestId, Outcome)], operations: &[Operation]) {
        let effects = std::mem::take(self.table.effects());
        assert_eq!((effects.outcomes.as_slice(), effects.operations.as_slice()), (outcomes, operations));
    }

    /// The server has given the key up, which was all that was left.
    pub fn ends(&mut self, ticket: RequestId, hold: RequestId) {
        self.released();
        self.brings(&[(ticket, Outcome::Released { hold })], &[]);
        assert!(self.table.is_empty());
    }
}
