//! The words in which the lock table is spoken to and answers.

use crate::core::{Key, Mode, OwnerId, RequestId, SessionId, Step};

/// Microseconds since some fixed moment, on a clock that never goes back.
pub type Ticks = u64;

/// How keys are handed on.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long the process may hand a key on among its own owners before other processes get their turn.
    pub tenure: Ticks,
    /// Whether a key is given up and asked for again by one [`Step::Requeue`], after which its last holder is not asked about. Else by
    /// a release, which is confirmed, and a try: for sessions that may lose a lock without being told.
    pub requeues: bool,
}

/// A call that asks for a lock.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names the request and later its hold; never used twice.
    pub id: RequestId,
    /// Whose hold it will be.
    pub owner: OwnerId,
    /// What to lock.
    pub key: Key,
    /// How to hold it.
    pub mode: Mode,
    /// Whether it waits where the key is taken.
    pub patient: bool,
    /// Whether the hold ends with a block of code that releases it by its id (`withLock`).
    pub scoped: bool,
}

/// The immediate answer to a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Held now.
    Granted,
    /// Taken by another owner in this process, and the request does not wait.
    Denied,
    /// The answer follows as an [`Outcome`].
    Pending,
    /// Waiting could never end: two owners hold the key shared and both want it exclusively. The earlier one waits on.
    Deadlock,
}

/// The immediate answer to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Release {
    /// That hold is given up.
    Done(RequestId),
    /// The answer follows as an [`Outcome`] of the ticket.
    Pending,
    /// There was no such hold.
    NotHeld,
}

/// A later answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Request: held now.
    Granted,
    /// Request: taken, and the request does not wait.
    Denied,
    /// Request: the server could not be asked; the reporter of the event knows why.
    Failed,
    /// Request: its owner was closed.
    Closed,
    /// Request: it was the youngest wait of a deadlock, and was refused ([`super::LockTable::refuse`]).
    Deadlock,
    /// Hold: gone with its session.
    Lost,
    /// Ticket: the hold is given up, on the server too.
    Released {
        /// Which one.
        hold: RequestId,
    },
    /// Ticket: the hold was gone before it could be given up.
    ReleaseFailed {
        /// Which one.
        hold: RequestId,
    },
    /// Ticket: the owner had no such hold.
    NotHeld,
}

/// Something for a session to do. `home` is the session that holds the key already, and so must do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Do a step. Answer to a [`Step::Try`] or [`Step::Requeue`]: [`Event::Acquired`], [`Event::Denied`] or
    /// [`Event::AcquireFailed`]; to a [`Step::Release`]: [`Event::Released`]; to a [`Step::Downgrade`]: [`Event::Downgraded`].
    Do {
        /// What to do.
        step: Step,
        /// The session that must do it; `None`: any may.
        home: Option<SessionId>,
        /// Whether a denied try is followed by a wait, so that one that is bound to fail may be spared.
        patient: bool,
    },
    /// Take the key, however long it takes. Answer: [`Event::Acquired`], [`Event::AcquireFailed`], or
    /// [`Event::WaitEnded`] once cancelled.
    Wait {
        /// The key.
        key: Key,
        /// The mode to take it in.
        mode: Mode,
        /// The session that must do it, as it holds the key in the other mode.
        home: Option<SessionId>,
    },
    /// End the wait for the key. Answer: [`Event::WaitEnded`], or [`Event::Acquired`] if it was faster.
    CancelWait {
        /// The key.
        key: Key,
    },
    /// Look whether anybody waits for the key. Answer: [`Event::Probed`].
    Probe {
        /// The key.
        key: Key,
        /// The session that holds it.
        home: SessionId,
    },
    /// Give up the key that a fenced hold had to itself, before anything else is done to the key that it held.
    EndFence {
        /// The key that it held.
        key: Key,
        /// The key of its own.
        own_key: Key,
        /// The session that has both.
        home: SessionId,
    },
}

/// What the server has answered to an [`Operation`], or what has become of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`Step::Try`], [`Step::Requeue`] or [`Operation::Wait`] got the lock.
    Acquired {
        /// The key.
        key: Key,
        /// The session that has it locked now.
        home: SessionId,
    },
    /// [`Step::Try`] or the try of a [`Step::Requeue`] found the key taken.
    Denied {
        /// The key.
        key: Key,
    },
    /// The wait that [`Operation::CancelWait`] was for has ended without the lock.
    WaitEnded {
        /// The key.
        key: Key,
    },
    /// An acquiring operation failed. Those it was for get [`Outcome::Failed`]; who waits for a hold in this process goes on.
    AcquireFailed {
        /// The key.
        key: Key,
    },
    /// [`Step::Release`] is done.
    Released {
        /// The key.
        key: Key,
        /// `false` if the server knew of no such lock: it had been lost before.
        held: bool,
    },
    /// [`Step::Downgrade`] is done.
    Downgraded {
        /// The key.
        key: Key,
        /// `false`: nothing has changed.
        done: bool,
    },
    /// [`Operation::Probe`] is answered.
    Probed {
        /// The key.
        key: Key,
        /// Whether a session of anybody waits for it on the server.
        contended: bool,
    },
    /// The session is gone, and every lock on it. Its operations under way are reported one by one besides, after this.
    SessionLost {
        /// Which one.
        session: SessionId,
    },
}

/// What calls and events have brought about, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Answers for the callers.
    pub outcomes: Vec<(RequestId, Outcome)>,
    /// Work for the sessions.
    pub operations: Vec<Operation>,
}

/// A release that is reported once the server has done it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmation {
    pub hold: RequestId,
    pub ticket: RequestId,
}
