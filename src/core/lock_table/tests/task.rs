//! What is under way between the table and the simulated server, and how it fails.

use crate::core::lock_table::Operation;
use crate::core::SessionId;

/// An operation that a session has been given.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub operation: Operation,
    pub session: SessionId,
    pub stage: Stage,
    pub cancelled: bool,
    /// It goes in a statement of its own.
    pub alone: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Sent,
    Queued,
    Answered(bool),
}

/// How a batch fails: after how many of its rows, and whether they are in the order of the keys.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub rows: usize,
    pub in_order: bool,
}
