//! What the manager knows of one session through a pooler.
//!
//! Invariant: whatever has been pushed is here until it is reported, so that the end of the session reports all of it.

use super::job::Job;
use crate::manager::slots::{SessionSlot, LONG_REST};
use crate::pg::Wire;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

pub(in crate::manager) struct Slot {
    /// What the connection shows of the server, once it is open.
    wire: Option<Arc<Wire>>,
    /// Whether it holds a key, or is to hold one.
    pub is_pinned: bool,
    /// Whether somebody holds what it holds.
    pub holds: bool,
    jobs: VecDeque<Job>,
    /// Whether the session's task is at the first of these.
    is_at_work: bool,
    pub idle_since: Instant,
    /// How long it was idle before the job in hand.
    rest: Duration,
    pub changed: Arc<Notify>,
}

impl Slot {
    pub fn new(now: Instant) -> Slot {
        Slot {
            wire: None,
            is_pinned: false,
            holds: false,
            jobs: VecDeque::new(),
            is_at_work: false,
            idle_since: now,
            rest: Duration::ZERO,
            changed: Arc::new(Notify::new()),
        }
    }

    pub fn opened(&mut self, wire: &Arc<Wire>) {
        self.wire = Some(Arc::clone(wire));
        self.idle_since = Instant::now();
    }

    pub fn push(&mut self, job: Job) {
        self.jobs.push_back(job);
        self.changed.notify_one();
    }

    /// The next job, which is in hand until [`Slot::end_job`].
    pub fn begin_job(&mut self) -> Option<Job> {
        let job = self.jobs.front().copied()?;
        if !std::mem::replace(&mut self.is_at_work, true) {
            self.rest = self.idle_since.elapsed();
        }
        Some(job)
    }

    /// The job in hand, which is done.
    pub fn end_job(&mut self) -> Option<Job> {
        self.idle_since = Instant::now();
        if std::mem::take(&mut self.is_at_work) {
            self.jobs.pop_front()
        } else {
            None
        }
    }

    /// Takes out what may be asked of another connection, where this one was lost before anybody asked it for anything; or may have
    /// been, if that `fits` how it was lost.
    pub fn take_repeatable_if_dead(&mut self, fits: bool) -> VecDeque<Job> {
        if self.is_at_work && !(fits && self.rest >= LONG_REST) {
            return VecDeque::new();
        }
        let (repeatable, rest) = std::mem::take(&mut self.jobs).into_iter().partition(|job| job.may_be_repeated());
        self.jobs = rest;
        repeatable
    }

    pub fn has_no_work(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether it may be given something to do that needs a session without a transaction.
    pub fn is_idle(&self) -> bool {
        !self.is_pinned && self.has_no_work()
    }

    /// All that has not been reported.
    pub fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.jobs.into_iter()
    }
}

impl SessionSlot for Slot {
    fn wire(&self) -> Option<&Arc<Wire>> {
        self.wire.as_ref()
    }

    fn changed(&self) -> &Arc<Notify> {
        &self.changed
    }
}
