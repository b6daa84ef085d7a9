//! What the manager knows of one session: the work that waits for it and the locks that are on it.

use crate::core::{Key, Mode, Modes, RequestId, Step};
use crate::error::Error;
use crate::pg::{BatchId, Role, Wire};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
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

/// A wait without a place in the queue asks for one again after this part of its age, within these bounds.
const PAUSE_PART_OF_AGE: u32 = 3;
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

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
    SilentRelease { key: Key, held: Modes },
    /// Ask whether anybody waits.
    Probe { key: Key },
    /// Ask who holds the key or waits for it, for whoever holds the ticket.
    Holders { key: Key, ticket: RequestId },
    /// Ask for a sign of life of the session, for whoever holds the ticket.
    Verify { ticket: RequestId },
    /// Take a key of the hold's own, and a token for it, for whoever holds the ticket.
    Fence { hold: RequestId, ticket: RequestId },
    /// Give up the own key of a hold of the key.
    EndFence { key: Key, own_key: Key },
    /// Tell the other processes of our waits and look for a ring.
    Inquire,
}

/// A wait in the server's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub key: Key,
    pub mode: Mode,
    pub cancelled: bool,
    /// When it began.
    pub since: Instant,
    /// Its latest turn has found no place in the queue.
    pub lacks_place: bool,
}

impl Wait {
    pub fn new(key: Key, mode: Mode, since: Instant) -> Wait {
        Wait { key, mode, cancelled: false, since, lacks_place: false }
    }

    /// How long to stand back where the queue has no place: rarer with age, and not all at once.
    pub fn pause(self, now: Instant) -> Duration {
        let random = RandomState::new().hash_one(()) % 512;
        let age = now.saturating_duration_since(self.since);
        let pause = (age / PAUSE_PART_OF_AGE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        pause * u32::try_from(768 + random).unwrap_or(1024) / 1024
    }
}

/// Steps that went out as one statement.
#[derive(Debug)]
struct Batch {
    id: BatchId,
    jobs: Vec<Job>,
}

/// Steps that may have been done, and why nobody knows.
#[derive(Debug)]
pub(super) struct Failed {
    pub jobs: Vec<Job>,
    pub cause: Error,
}

/// A session as the manager sees it, from the decision to open it to its end.
pub(super) struct Slot {
    pub role: Role,
    /// The way to send batches, once the session is open.
    pub wire: Option<Arc<Wire>>,
    /// Steps that are to go out.
    steps: VecDeque<Job>,
    /// Steps that are to go out first, each in a statement of its own: of batches that failed, and nobody knows by which step.
    alone: VecDeque<Job>,
    /// How many have come in the caller's current turn, and with how many a batch goes out before its end.
    steps_of_turn: usize,
    early_batch: usize,
    batches: VecDeque<Batch>,
    /// Other work, for which the session's task asks the server.
    pub questions: VecDeque<Job>,
    /// Batches of which the session's task has to find out what was done.
    pub failed: Vec<Failed>,
    /// An answer after which the session cannot be trusted.
    pub fatal: Option<Failed>,
    pub wait: Option<Wait>,
    /// When the wait asks for a place in the queue again.
    pub asks_again: Option<Instant>,
    /// The wait is in the server's queue, and the session answers nothing else meanwhile.
    pub is_waiting: bool,
    /// Keys that are locked on the session.
    pub held: usize,
    /// Tries that are queued or under way.
    tries: usize,
    pub idle_since: Instant,
    /// When it last said what it holds, or had nothing to say; at first when it began.
    pub published: Instant,
    /// Whether the session's task looks after it at short intervals, and whether there was something to look after.
    is_watched: bool,
    was_used: bool,
    pub changed: Arc<Notify>,
}

impl Slot {
    pub fn new(role: Role, now: Instant) -> Slot {
        Slot {
            role,
            wire: None,
            steps: VecDeque::new(),
            alone: VecDeque::new(),
            steps_of_turn: 0,
            early_batch: *EARLY_BATCH.start(),
            batches: VecDeque::new(),
            questions: VecDeque::new(),
            failed: Vec::new(),
            fatal: None,
            wait: None,
            asks_again: None,
            is_waiting: false,
            held: 0,
            tries: 0,
            idle_since: now,
            published: now,
            is_watched: false,
            was_used: false,
            changed: Arc::new(Notify::new()),
        }
    }

    pub fn is_open(&self) -> bool {
        self.wire.is_some()
    }

    /// Queues work; whether it is a step, which somebody has to send.
    pub fn push(&mut self, job: Job) -> bool {
        if job.is_try() {
            self.tries += 1;
        }
        if job.step().is_some() {
            self.steps.push_back(job);
            self.steps_of_turn += 1;
            return true;
        }
        self.questions.push_back(job);
        self.changed.notify_one();
        false
    }

    /// Queues `step` once more, in the place of a job that was not done. Those that have held their key go first, as there
    /// may be no room for more locks than there are.
    pub fn push_again(&mut self, job: Job, step: Step) {
        match job {
            Job::Step(Step::Requeue { .. }) => self.alone.push_front(Job::Step(step)),
            Job::Step(_) => self.alone.push_back(Job::Step(step)),
            other => self.alone.push_back(other),
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
            let count = self.steps.len().min(MOST_STEPS);
            let jobs: Vec<Job> = match self.alone.pop_front() {
                Some(job) => vec![job],
                None => self.steps.drain(..count).collect(),
            };
            let id = wire.send(jobs.iter().filter_map(|job| job.step()).collect());
            self.batches.push_back(Batch { id, jobs });
            self.idle_since = Instant::now();
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

    /// Whether something is under way for which the session's task must look again soon.
    pub fn is_busy(&self) -> bool {
        self.has_steps() || !self.batches.is_empty()
    }

    /// Whether there has been something of the kind since it was asked last; if not, nobody looks again unless told to.
    pub fn was_busy(&mut self) -> bool {
        self.is_watched = std::mem::take(&mut self.was_used);
        self.is_watched
    }

    /// The jobs of a batch that is answered.
    pub fn take_batch(&mut self, id: BatchId) -> Option<Vec<Job>> {
        let place = self.batches.iter().position(|batch| batch.id == id)?;
        self.idle_since = Instant::now();
        self.batches.remove(place).map(|batch| batch.jobs)
    }

    /// How long ago that was asked for which the server has last shown that it is there.
    pub fn age_of_proof(&self) -> Duration {
        self.wire.as_ref().map_or(Duration::ZERO, |wire| wire.age_of_proof())
    }

    /// A job has an answer.
    pub fn done(&mut self, job: Job) {
        if job.is_try() {
            self.tries -= 1;
        }
    }

    /// All work that has not been reported.
    pub fn into_jobs(self) -> impl Iterator<Item = Job> {
        let failed = self.failed.into_iter().chain(self.fatal).flat_map(|failed| failed.jobs);
        let batches = self.batches.into_iter().flat_map(|batch| batch.jobs);
        failed.chain(batches).chain(self.alone).chain(self.steps).chain(self.questions)
    }

    /// Locks on the session, now or soon.
    pub fn load(&self) -> usize {
        self.held + self.tries
    }

    /// Gives the session a wait.
    pub fn begin_wait(&mut self, wait: Wait) {
        self.wait = Some(wait);
        self.asks_again = None;
        self.changed.notify_one();
    }

    /// How long the wait stands back yet.
    pub fn pause(&self) -> Duration {
        self.asks_again.map_or(Duration::ZERO, |when| when.saturating_duration_since(Instant::now()))
    }

    /// Whether a wait may be given to the session.
    pub fn is_free_to_wait(&self) -> bool {
        self.role == Role::Wait && self.held == 0 && self.wait.is_none()
    }
}

impl Job {
    fn is_try(self) -> bool {
        match self {
            Job::Step(step) => step.is_try(),
            other => matches!(other, Job::Retry { .. }),
        }
    }

    pub fn step(self) -> Option<Step> {
        match self {
            Job::Step(step) => Some(step),
            Job::Retry { key, mode } => Some(Step::Try { key, mode }),
            Job::SilentRelease { key, held } => Some(Step::Release { key, held }),
            Job::EndFence { own_key, .. } => Some(Step::Release { key: own_key, held: Modes::only(Mode::Exclusive) }),
            Job::BriefWait { .. }
            | Job::Probe { .. }
            | Job::Holders { .. }
            | Job::Verify { .. }
            | Job::Fence { .. }
            | Job::Inquire => None,
        }
    }
}
