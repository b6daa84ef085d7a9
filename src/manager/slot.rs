//! What the manager knows of one session: the work that waits for it and the locks that are on it.

use crate::core::{Key, Mode, RequestId};
use crate::pg::{Role, Step};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Work for a session that ends soon.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// A step that the lock table asked for.
    Step(Step),
    /// A try on behalf of a wait that has no session of its own.
    Retry { key: Key, mode: Mode },
    /// A brief wait, on a session that must not block for long, for a key that it holds in the other mode.
    BriefWait { key: Key, mode: Mode },
    /// The release before a wait on the same session: nobody awaits its answer.
    SilentRelease { key: Key, exclusive: bool, shared: bool },
    /// Ask whether anybody waits.
    Probe { key: Key },
    /// Ask who holds the key or waits for it, for whoever holds the ticket.
    Holders { key: Key, ticket: RequestId },
    /// Tell the other processes of our waits and look for a ring.
    Inquire,
}

/// A wait in the server's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub key: Key,
    pub mode: Mode,
    pub cancelled: bool,
}

/// A session as the manager sees it, from the decision to open it to its end.
#[derive(Debug)]
pub(super) struct Slot {
    pub role: Role,
    pub open: bool,
    pub jobs: VecDeque<Job>,
    pub wait: Option<Wait>,
    /// Keys that are locked on the session.
    pub held: usize,
    /// Tries that are queued or under way.
    pub tries: usize,
    pub idle_since: Instant,
    pub changed: Arc<Notify>,
}

impl Slot {
    pub fn new(role: Role, now: Instant) -> Slot {
        Slot {
            role,
            open: false,
            jobs: VecDeque::new(),
            wait: None,
            held: 0,
            tries: 0,
            idle_since: now,
            changed: Arc::new(Notify::new()),
        }
    }

    pub fn push(&mut self, job: Job) {
        if job.is_try() {
            self.tries += 1;
        }
        self.jobs.push_back(job);
        if self.jobs.len() == 1 {
            self.changed.notify_one();
        }
    }

    /// Locks on the session, now or soon.
    pub fn load(&self) -> usize {
        self.held + self.tries
    }

    /// Whether a wait may be given to the session.
    pub fn is_free_to_wait(&self) -> bool {
        self.role == Role::Wait && self.held == 0 && self.wait.is_none()
    }
}

impl Job {
    pub fn is_try(self) -> bool {
        matches!(self, Job::Retry { .. } | Job::Step(Step::Try { .. } | Step::Cycle { .. }))
    }

    pub fn step(self) -> Option<Step> {
        match self {
            Job::Step(step) => Some(step),
            Job::Retry { key, mode } => Some(Step::Try { key, mode }),
            Job::SilentRelease { key, exclusive, shared } => Some(Step::Release { key, exclusive, shared }),
            Job::BriefWait { .. } | Job::Probe { .. } | Job::Holders { .. } | Job::Inquire => None,
        }
    }
}
