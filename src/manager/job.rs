//! What a session is given to do: steps, which go out in batches, and queries, for which its task asks the server.

use crate::core::{Key, Mode, RequestId, Step};

/// A step, and on whose behalf it is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub step: Step,
    pub purpose: Purpose,
}

/// On whose behalf a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The lock table has asked for it, and is told what comes of it.
    Table,
    /// The same once more, as the session on which it was asked for first was found dead, or without a backend of its own.
    SecondTry,
    /// A try of a wait that is polled.
    Poll,
    /// The release before a wait on the same session: nobody awaits its answer.
    Requeue,
    /// The release of a key that a fenced hold of this key had to itself.
    Fence { of: Key },
}

impl Job {
    pub const fn new(step: Step) -> Job {
        Job { step, purpose: Purpose::Table }
    }

    /// Whether it may be done by another session where this one, which holds nothing, is gone.
    pub const fn may_be_repeated(self) -> bool {
        matches!(self, Job { step: Step::Try { .. }, purpose: Purpose::Table })
    }
}

/// A question that the session's task asks the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Query {
    /// Whether anybody waits for the key.
    Probe { key: Key },
    /// Who holds the key or waits for it; for whoever has the ticket.
    Holders { key: Key, ticket: RequestId },
    /// For a sign of life of the session; for whoever has the ticket.
    Verify { ticket: RequestId },
    /// For a key of the hold's own, and a token for it; for whoever has the ticket.
    Fence { hold: RequestId, ticket: RequestId },
    /// For the key in another mode than the session has it, if nobody else has it.
    Upgrade { key: Key, mode: Mode },
    /// Tell the other processes of our waits and look for deadlocks.
    Inquire,
}

impl Query {
    /// Whether it may be asked of another session where this one, which holds nothing, is gone.
    pub const fn may_be_repeated(self) -> bool {
        matches!(self, Query::Holders { .. })
    }
}
