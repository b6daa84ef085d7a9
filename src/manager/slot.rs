//! What the manager knows of one session: the work that waits for it, the work that it is at, and the wait that it is given.
//!
//! Invariant: whatever has been pushed is here until it is reported, so that the end of the session reports all of it.

use super::job::{Job, Query};
use super::slots::{SessionSlot, LONG_REST};
use super::wait::Wait;
use crate::core::Step;
use crate::error::Error;
use crate::pg::{BatchId, Role, Wire};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// So many batches may be under way at a time: while the server works at one, the next is on its way.
const MOST_BATCHES: usize = 3;
/// So many of one step each, after a batch has failed: what has become of those that fail is asked for all at once.
const MOST_BATCHES_OF_ONE: usize = 256;
/// A larger one would hold up what comes after it.
const MOST_STEPS: usize = 1024;
/// What comes within a turn of a caller's event loop goes out in this many batches or so, so that the server begins before the
/// caller has come to its end; in batches of these sizes, as small ones cost the server more than they gain.
const BATCHES_OF_A_TURN: usize = 3;
const EARLY_BATCH: std::ops::RangeInclusive<usize> = 16..=256;

/// Jobs, and how many of them may take a lock.
#[derive(Debug, Default)]
struct Jobs {
    jobs: VecDeque<Job>,
    tries: usize,
}

/// Steps that went out as one statement.
#[derive(Debug)]
struct Batch {
    id: BatchId,
    jobs: Vec<Job>,
    tries: usize,
}

/// Steps that may have been done, and why nobody knows.
#[derive(Debug)]
pub(super) struct Failed {
    pub jobs: Vec<Job>,
    pub cause: Error,
}

/// What the session's task has been given, until it has reported it.
#[derive(Debug, Default)]
enum Task {
    #[default]
    None,
    Query(Query),
    Salvage(Vec<Failed>),
}

/// A session as the manager sees it, from the decision to open it to its end.
pub(super) struct Slot {
    pub role: Role,
    /// Whether somebody who stands between has been asked for.
    pub is_probed: bool,
    /// The way to send batches, once the session is open.
    wire: Option<Arc<Wire>>,
    /// Steps that are to go out.
    steps: Jobs,
    /// Steps that are to go out first, each in a statement of its own: of batches that failed, and nobody knows by which step.
    alone: Jobs,
    /// How many have come in the caller's current turn, and with how many a batch goes out before its end.
    steps_of_turn: usize,
    early_batch: usize,
    batches: VecDeque<Batch>,
    queries: VecDeque<Query>,
    /// Batches of which the session's task has to find out what was done.
    failed: Vec<Failed>,
    /// A batch whose answer shows that the session cannot be trusted.
    fatal: Option<Failed>,
    task: Task,
    pub wait: Option<Wait>,
    /// When the wait asks for a place in the queue again.
    asks_again: Option<Instant>,
    /// The wait is in the server's queue, and the session answers nothing else meanwhile.
    pub is_waiting: bool,
    pub idle_since: Instant,
    /// For how long it was idle before what is under way now.
    rest: Duration,
    /// When it last said what it holds, or had nothing to say; at first when it began.
    pub published: Instant,
    /// Whether it is listed among those that have steps to send, and among those that have nothing to wait for.
    pub is_unsent: bool,
    pub is_free: bool,
    /// Whether the session's task looks after it at short intervals, and whether there was something to look after.
    is_watched: bool,
    was_used: bool,
    pub changed: Arc<Notify>,
}

impl Slot {
    pub fn new(role: Role, now: Instant) -> Slot {
        Slot {
            role,
            is_probed: false,
            wire: None,
            steps: Jobs::default(),
            alone: Jobs::default(),
            steps_of_turn: 0,
            early_batch: *EARLY_BATCH.start(),
            batches: VecDeque::new(),
            queries: VecDeque::new(),
            failed: Vec::new(),
            fatal: None,
            task: Task::None,
            wait: None,
            asks_again: None,
            is_waiting: false,
            idle_since: now,
            rest: Duration::ZERO,
            published: now,
            is_unsent: false,
            is_free: false,
            is_watched: false,
            was_used: false,
            changed: Arc::new(Notify::new()),
        }
    }

    /// The session is open, and this is the way to it. `is_probed`: whether somebody who stands between has been asked for.
    pub fn opened(&mut self, wire: &Arc<Wire>, is_probed: bool) {
        self.wire = Some(Arc::clone(wire));
        self.is_probed = is_probed;
        self.idle_since = Instant::now();
    }

    /// Queues a step, which somebody has to send.
    pub fn push(&mut self, job: Job) {
        self.steps.push_back(job);
        self.steps_of_turn += 1;
    }

    /// Queues a query for the session's task.
    pub fn push_query(&mut self, query: Query) {
        self.queries.push_back(query);
        self.changed.notify_one();
    }

    /// Queues `step` once more, in the place of a job that was not done. Those that have held their key go first, as there
    /// may be no room for more locks than there are.
    pub fn push_again(&mut self, job: Job, step: Step) {
        let again = Job { step, ..job };
        match job.step {
            Step::Requeue { .. } => self.alone.push_front(again),
            _ => self.alone.push_back(again),
        }
    }

    /// Whether steps can go out now: not while the session waits in the server's queue, where it must be fetched from first.
    fn can_send(&self) -> bool {
        let most = if self.alone.is_empty() { MOST_BATCHES } else { MOST_BATCHES_OF_ONE };
        self.is_open() && !self.is_waiting && self.batches.len() < most
    }

    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty() || !self.alone.is_empty()
    }

    /// Sends the queued steps where that is better than to wait for the end of the caller's turn: at once where the server has
    /// nothing to do, as the turn may be long.
    pub fn send_early(&mut self) {
        if self.batches.is_empty() || self.steps.len() >= self.early_batch {
            self.send();
        }
    }

    /// Sends the queued steps, as the caller's turn is over.
    pub fn send_at_end_of_turn(&mut self) {
        let even = self.steps_of_turn / BATCHES_OF_A_TURN;
        self.early_batch = even.clamp(*EARLY_BATCH.start(), *EARLY_BATCH.end());
        self.steps_of_turn = 0;
        self.send();
    }

    /// Sends the queued steps, as far as it may.
    pub fn send(&mut self) {
        while self.has_steps() && self.can_send() {
            let Some(wire) = &self.wire else { return };
            let jobs = if self.alone.is_empty() { self.steps.take(MOST_STEPS) } else { self.alone.take(1) };
            let id = wire.send(jobs.iter().map(|job| job.step).collect());
            let tries = count_tries(&jobs);
            let now = Instant::now();
            if self.batches.is_empty() {
                self.rest = now - self.idle_since;
            }
            self.batches.push_back(Batch { id, jobs, tries });
            self.idle_since = now;
        }
        if self.has_steps() && self.is_waiting {
            self.changed.notify_one();
        }
    }

    /// Has the session's task look after it from now on: what is sent must be answered in time, what is queued be sent.
    pub fn watch(&mut self) {
        self.was_used = true;
        if !self.is_watched {
            self.is_watched = true;
            self.changed.notify_one();
        }
    }

    /// Whether nothing has shown for long that the session was still there when what is under way was sent: a router in between may
    /// have forgotten its connection.
    pub fn has_rested(&self) -> bool {
        self.rest >= LONG_REST
    }

    /// Whether something is under way for which the session's task must look again soon.
    pub fn is_busy(&self) -> bool {
        self.has_steps() || !self.batches.is_empty()
    }

    /// Whether it has anything to do, or somebody has to find out what it has done.
    pub fn has_work(&self) -> bool {
        let is_at_work = !matches!(self.task, Task::None) || self.wait.is_some();
        self.is_busy() || is_at_work || !self.queries.is_empty() || !self.failed.is_empty() || self.fatal.is_some()
    }

    /// Whether there has been something of the kind since it was asked last; if not, nobody looks again unless told to.
    pub fn was_busy(&mut self) -> bool {
        self.is_watched = std::mem::take(&mut self.was_used);
        self.is_watched
    }

    /// Gives the session a wait.
    pub fn begin_wait(&mut self, wait: Wait) {
        self.wait = Some(wait);
        self.asks_again = None;
        self.changed.notify_one();
    }

    /// The wait is not in the server's queue any more.
    pub fn turn_is_over(&mut self) {
        self.idle_since = Instant::now();
        self.is_waiting = false;
    }

    /// Has the wait stand back for a while, as its queue has no place.
    pub fn stand_back(&mut self, wait: Wait) {
        let now = Instant::now();
        self.asks_again = Some(now + wait.pause(now));
    }

    /// How long the wait stands back yet.
    pub fn pause(&self) -> Duration {
        self.asks_again.map_or(Duration::ZERO, |when| when.saturating_duration_since(Instant::now()))
    }

    /// Whether a wait under way must be cut short.
    pub fn must_interrupt(&self) -> bool {
        self.has_steps() || !self.queries.is_empty() || self.wait.is_some_and(|wait| wait.is_cancelled)
    }

    /// The jobs of a batch that is answered.
    pub fn take_batch(&mut self, id: BatchId) -> Option<Vec<Job>> {
        let place = self.batches.iter().position(|batch| batch.id == id)?;
        self.idle_since = Instant::now();
        self.batches.remove(place).map(|batch| batch.jobs)
    }

    /// What has become of this batch is to be found out.
    pub fn batch_failed(&mut self, failed: Failed) {
        self.failed.push(failed);
        self.changed.notify_one();
    }

    /// The answer to this batch ends the session.
    pub fn batch_was_fatal(&mut self, failed: Failed) {
        self.fatal = Some(failed);
        self.changed.notify_one();
    }

    /// Why the session cannot go on.
    pub fn fatal_cause(&self) -> Option<Error> {
        self.fatal.as_ref().map(|failed| failed.cause.clone())
    }

    /// Gives the session's task the next query.
    pub fn begin_query(&mut self) -> Option<Query> {
        let query = self.queries.pop_front()?;
        let now = Instant::now();
        if self.batches.is_empty() {
            self.rest = now - self.idle_since;
        }
        self.idle_since = now;
        self.task = Task::Query(query);
        Some(query)
    }

    /// Gives the session's task the steps of the batches that failed.
    pub fn begin_salvage(&mut self) -> Option<Vec<Vec<Step>>> {
        if self.failed.is_empty() {
            return None;
        }
        let failed = std::mem::take(&mut self.failed);
        let steps = failed.iter().map(|batch| batch.jobs.iter().map(|job| job.step).collect()).collect();
        self.task = Task::Salvage(failed);
        Some(steps)
    }

    /// The query that the session's task reports.
    pub fn end_query(&mut self) -> Option<Query> {
        match std::mem::take(&mut self.task) {
            Task::Query(query) => Some(query),
            Task::None | Task::Salvage(_) => None,
        }
    }

    /// The failed batches of which the session's task reports.
    pub fn end_salvage(&mut self) -> Vec<Failed> {
        match std::mem::take(&mut self.task) {
            Task::Salvage(failed) => failed,
            Task::None | Task::Query(_) => Vec::new(),
        }
    }

    /// Takes the work of a session that is not open yet.
    pub fn take_queued(&mut self) -> (Vec<Job>, Vec<Query>) {
        let count = self.steps.len();
        (self.steps.take(count), self.queries.drain(..).collect())
    }

    /// All work that has not been reported.
    pub fn into_work(self) -> (Vec<Job>, Vec<Query>) {
        let mut queries: Vec<Query> = self.queries.into();
        let mut failed = self.failed;
        match self.task {
            Task::None => {}
            Task::Query(query) => queries.push(query),
            Task::Salvage(batches) => failed.extend(batches),
        }
        let failed = failed.into_iter().chain(self.fatal).flat_map(|failed| failed.jobs);
        let batches = self.batches.into_iter().flat_map(|batch| batch.jobs);
        (failed.chain(batches).chain(self.alone.jobs).chain(self.steps.jobs).collect(), queries)
    }

    /// Tries that are queued or under way.
    pub fn tries(&self) -> usize {
        let under_way: usize = self.batches.iter().map(|batch| batch.tries).sum();
        self.steps.tries + self.alone.tries + under_way
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

impl Jobs {
    fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn len(&self) -> usize {
        self.jobs.len()
    }

    fn push_back(&mut self, job: Job) {
        self.tries += usize::from(job.step.is_try());
        self.jobs.push_back(job);
    }

    fn push_front(&mut self, job: Job) {
        self.tries += usize::from(job.step.is_try());
        self.jobs.push_front(job);
    }

    fn take(&mut self, most: usize) -> Vec<Job> {
        let jobs: Vec<Job> = self.jobs.drain(..self.jobs.len().min(most)).collect();
        self.tries -= count_tries(&jobs);
        jobs
    }
}

fn count_tries(jobs: &[Job]) -> usize {
    jobs.iter().filter(|job| job.step.is_try()).count()
}
