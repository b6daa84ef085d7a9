//! What a session through a pooler is given to do, and how that may fail.

use crate::core::{Key, Mode, RequestId};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(in crate::manager) enum Job {
    /// Hold the key by a transaction, if it is free; or wait for it in the server's queue for so long.
    Pin { key: Key, mode: Mode, patient: bool, turn: Option<Duration> },
    /// Hold the key in one more mode, if nobody else has it, by the transaction that holds it already.
    Upgrade { key: Key, mode: Mode },
    /// Give the key up.
    Unpin { key: Key },
    /// Look which of the waits that are due have something to try for.
    Look,
    /// Ask whether anybody waits for the key in the server's queue.
    Probe { key: Key },
    /// Ask who holds the key or waits for it; for whoever has the ticket.
    Holders { key: Key, ticket: RequestId },
    /// Ask for a sign of life of the transaction; for whoever has the ticket.
    Verify { ticket: RequestId },
}

impl Job {
    /// Whether it may be done by another connection where this one, which holds nothing, is gone. Waits go on by themselves.
    pub fn may_be_repeated(self) -> bool {
        matches!(self, Job::Pin { patient: false, .. } | Job::Holders { .. })
    }
}

/// Whether the next attempt may succeed: a connection that others have given up, or a limit of theirs, need not be met by the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Failure {
    Passing,
    Lasting,
}
