//! How the sessions of one manager behave.

use crate::pg::{ConnectConfig, Timing};
use std::time::Duration;

/// How the sessions of one manager behave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Most sessions that wait in the server's queue; further waits are retried in batches.
    pub max_wait_connections: usize,
    /// The most sessions that hold a lock through a pooler which lends them for one transaction at a time; `None`: there is none, or
    /// it is not to be worked through.
    pub max_pinned_connections: Option<usize>,
    /// The way through a pooler by which long waits are looked for, while locks are held on direct sessions.
    pub looks_through: Option<ConnectConfig>,
    /// After how long a session without locks and waits is closed.
    pub idle_timeout: Duration,
    /// For how long silence is borne.
    pub timing: Timing,
    /// Whether sessions say in the database what they hold.
    pub publish_names: bool,
}
