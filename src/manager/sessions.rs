//! The sessions of one manager: which there are, and which of them does what. It knows neither callers nor owners.
//!
//! Invariant: what the lock table or a caller has asked for is on a session or polled, or its report is in [`Sessions::reports`].

use super::backoff::Backoff;
use super::contended::Contended;
use super::job::{Job, Purpose, Query};
use super::mailbox::Answer;
use super::polls::{Cancelled, Polls};
use super::slot::Slot;
use super::wait::Wait;
use crate::core::lock_table::{Event, LockTable};
use crate::core::{Key, RequestId, SessionId, ThreadId};
use crate::error::Error;
use crate::pg::{Role, Wire};
use foldhash::{HashMap, HashSet};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A session that holds more keys than this slows down everybody on it, as PostgreSQL walks all locks of a session at
/// each transaction end: new tries go to another one.
const MOST_KEYS_ON_A_SESSION: usize = 640;
/// But keys that are asked for all at once cost little more on one session than on several, and less than to open these.
const MOST_KEYS_AT_ONCE: usize = 2560;
/// Beyond so many sessions for tries and holds, the least loaded one takes more.
const MOST_MAIN_SESSIONS: usize = 20;
/// For so long a wait is not tried while the session is opened that will be its own.
const TIME_TO_OPEN: Duration = Duration::from_millis(200);
/// The code of a server that has no room for more sessions.
const NO_ROOM: &str = "53300";

/// What has come of the sessions' work.
pub(super) enum Report {
    /// For the lock table; with the reason of bad news.
    Event(Event, Option<Error>),
    /// For whoever has the ticket.
    Answer(RequestId, Answer),
    /// A [`Query::Inquire`] could not be made.
    InquiryFailed,
    /// An own key of a hold of this key is given up, by its session or with it.
    FenceEnded(Key),
}

pub(super) struct Sessions {
    most_waiting: usize,
    pub(super) slots: HashMap<SessionId, Slot>,
    /// The sessions for tries and holds, and the one of them that new tries go to.
    mains: Vec<SessionId>,
    main: Option<SessionId>,
    /// The last session for tries has closed for want of work while waits were in the queues, which need no other as long as they
    /// have theirs.
    main_rests: bool,
    main_backoff: Backoff,
    /// Why there is no session for tries, where the server is left alone for that.
    refusal: Option<Error>,
    /// Sessions for waits that are not open yet, and those that have nothing to wait for, the latest one last.
    opening: HashSet<SessionId>,
    free: Vec<SessionId>,
    wait_backoff: Backoff,
    /// The keys that sessions wait for.
    waiting: HashMap<Key, SessionId>,
    pub(super) polls: Polls,
    pub(super) contended: Contended,
    /// Sessions that have steps to send.
    unsent: Vec<SessionId>,
    /// A session that wants the calling thread's attendance.
    pub to_attend: Option<(SessionId, Arc<Wire>)>,
    /// Sessions to be started once the state is unlocked.
    to_open: Vec<SessionId>,
    /// A session was found to be served by a backend that is not its own: whether there is another way is to be asked.
    pub suspects_pooler: bool,
    /// Sessions that are taking leave of the server.
    closing: usize,
    pub(super) reports: VecDeque<Report>,
}

impl Sessions {
    /// `most_waiting`: the most sessions that wait in the server's queue.
    pub fn new(most_waiting: usize) -> Sessions {
        Sessions {
            most_waiting,
            slots: HashMap::default(),
            mains: Vec::new(),
            main: None,
            main_rests: false,
            main_backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
            refusal: None,
            opening: HashSet::default(),
            free: Vec::new(),
            wait_backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            waiting: HashMap::default(),
            polls: Polls::default(),
            contended: Contended::new(Instant::now()),
            unsent: Vec::new(),
            to_attend: None,
            to_open: Vec::new(),
            suspects_pooler: false,
            closing: 0,
            reports: VecDeque::new(),
        }
    }

    /// Whether there is none, and none that still takes leave of the server.
    pub fn are_gone(&self) -> bool {
        self.slots.is_empty() && self.closing == 0
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.slots.values().filter(|slot| slot.is_open()).count()
    }

    /// The ways to those that are open.
    pub fn wires(&self) -> Vec<Arc<Wire>> {
        self.slots.values().filter_map(|slot| slot.wire().map(Arc::clone)).collect()
    }

    /// Has every session look whether it is still needed.
    pub fn notify_all(&self) {
        self.slots.values().for_each(|slot| slot.changed.notify_one());
    }

    /// The sessions to be started, with what tells their tasks of changes.
    pub fn take_to_open(&mut self) -> Vec<(SessionId, Arc<Notify>)> {
        let to_open = std::mem::take(&mut self.to_open).into_iter();
        to_open.filter_map(|id| Some((id, Arc::clone(&self.slots.get(&id)?.changed)))).collect()
    }

    /// Whether the session must stay though it is idle: waits that have no session of their own are polled on it.
    pub fn is_needed_for_waits(&self, id: SessionId) -> bool {
        self.main == Some(id) && !self.polls.is_empty()
    }

    /// Whether a session has answered within this time.
    pub fn have_answered_within(&self, time: Duration) -> bool {
        self.slots.values().filter_map(Slot::wire).any(|wire| wire.has_answered_within(time))
    }

    /// The session for new tries: one that is not too full, newly begun if need be.
    ///
    /// # Errors
    /// There is none, and the server is left alone, as it had no room for one a moment ago.
    pub fn main_session(&mut self, table: &LockTable) -> Result<SessionId, Error> {
        let load = |id: SessionId| {
            let tries = self.slots.get(&id).map_or(usize::MAX / 2, Slot::tries);
            let held = table.key_count_on(id);
            (held, held + tries)
        };
        let has_room = |id: &SessionId| {
            let (held, load) = load(*id);
            held < MOST_KEYS_ON_A_SESSION && load < MOST_KEYS_AT_ONCE
        };
        if let Some(main) = self.main.filter(has_room) {
            return Ok(main);
        }
        let least = self.mains.iter().map(|&id| (load(id).1, id)).min();
        let main = match least {
            Some((load, id)) if load < MOST_KEYS_ON_A_SESSION / 2 || !self.may_begin_main_session() => id,
            _ => {
                self.may_connect()?;
                self.begin_session(Role::Main)
            }
        };
        self.main = Some(main);
        Ok(main)
    }

    /// Whether one more session for tries and holds may be begun, where there are some.
    fn may_begin_main_session(&self) -> bool {
        let is_opening = || self.mains.iter().filter_map(|id| self.slots.get(id)).any(|slot| !slot.is_open());
        self.mains.len() < MOST_MAIN_SESSIONS
            && self.main_backoff.is_over(Instant::now())
            && !(self.main_backoff.is_doubtful() && is_opening())
    }

    /// Whether a session for tries may be begun where there is none.
    fn may_connect(&self) -> Result<(), Error> {
        match &self.refusal {
            Some(cause) if !self.main_backoff.is_over(Instant::now()) => Err(cause
                .clone()
                .about("no connection could be opened a moment ago, and the server is left alone for now")),
            _ => Ok(()),
        }
    }

    fn begin_session(&mut self, role: Role) -> SessionId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = SessionId(NEXT.fetch_add(1, Ordering::Relaxed));
        self.slots.insert(id, Slot::new(role, self.suspects_pooler, Instant::now()));
        match role {
            Role::Main => {
                self.mains.push(id);
                self.main_rests = false;
            }
            Role::Wait => drop(self.opening.insert(id)),
        }
        self.to_open.push(id);
        id
    }

    /// Whether there are more waits without a session than sessions that are about to be theirs.
    pub fn lacks_wait_sessions(&self) -> bool {
        self.polls.movable() > self.opening.len()
    }

    /// Begins sessions for waits that have none, as far as may be: one at a time, where the last one could not be opened.
    pub(super) fn open_wait_sessions(&mut self, now: Instant) {
        while self.lacks_wait_sessions()
            && self.slots.len() - self.mains.len() < self.most_waiting
            && self.wait_backoff.is_over(now)
            && (self.opening.is_empty() || !self.wait_backoff.is_doubtful())
        {
            self.begin_session(Role::Wait);
        }
    }

    pub fn opened(&mut self, id: SessionId, wire: &Arc<Wire>, table: &LockTable) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.opened(wire);
        match slot.role {
            Role::Main => {
                self.main_backoff.succeeded();
                self.refusal = None;
            }
            Role::Wait => {
                self.opening.remove(&id);
                self.wait_backoff.succeeded();
                self.find_wait_for(id, table);
            }
        }
        self.list_unsent(id);
    }

    pub fn open_failed(&mut self, id: SessionId, cause: &Error) {
        let Some(slot) = self.drop_session(id) else { return };
        let now = Instant::now();
        if slot.role == Role::Wait {
            // Waits are polled meanwhile, except where a session would mean nothing.
            self.wait_backoff.failed(now);
            if cause.is_transaction_pooling() {
                self.fail_polls(cause);
            }
            return;
        }
        let open = self.mains.iter().copied().find(|id| self.slots.get(id).is_some_and(Slot::is_open));
        let (jobs, queries) = slot.into_work();
        if let Some(other) = open {
            // The server answers, it only has no room for more sessions: what is there must do.
            self.main_backoff.failed(now);
            self.main.get_or_insert(other);
            jobs.into_iter().for_each(|job| self.push(other, job));
            queries.into_iter().for_each(|query| self.push_query(other, query));
        } else {
            // Waits in the queues would ask for it again and again, and so would callers where there is no room.
            if self.has_open() || cause.code() == NO_ROOM {
                self.main_backoff.failed(now);
                self.refusal = Some(cause.clone());
            }
            self.fail(id, jobs, queries, cause, self.has_open());
        }
    }

    /// The session is gone with all its locks.
    pub fn lost(&mut self, id: SessionId, cause: &Error, table: &LockTable) {
        let Some(slot) = self.drop_session(id) else { return };
        self.report(Event::SessionLost { session: id }, Some(cause));
        // Where it is new that backends are shared, the next session may be left its own.
        let is_suspicion = cause.is_transaction_pooling() && !slot.is_probed;
        self.suspects_pooler |= is_suspicion;
        // Another one can be had, as far as anybody knows, where there was none for want of work alone.
        let has_other = self.has_open() || std::mem::take(&mut self.main_rests);
        let goes_on = is_suspicion || (has_other && !cause.is_transaction_pooling());
        let wait = slot.wait;
        // A session without locks may have been dead for long: nobody is told of that who has just asked for one.
        let was_unused = slot.has_rested() && table.key_count_on(id) == 0 && !cause.is_transaction_pooling();
        let (jobs, queries) = slot.into_work();
        let (again, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| was_unused && job.may_be_repeated());
        if let Some(wait) = wait {
            // What was to be added to a lock of the session is over with it; any other wait does not depend on it.
            if goes_on && !wait.is_cancelled && table.home(wait.key) != Some(id) {
                self.polls.add(wait, None, Instant::now());
            } else {
                self.wait_failed(wait, cause);
            }
        }
        self.fail(id, jobs, queries, cause, goes_on);
        for Job { step, .. } in again {
            let job = Job { step, purpose: Purpose::SecondTry };
            match self.main_session(table) {
                Ok(main) => self.push(main, job),
                Err(_) => self.job_done(id, job, Err(cause.clone())),
            }
        }
        self.keep_main_session(table);
    }

    /// Sees to it that waits have a session to fall back on.
    pub fn keep_main_session(&mut self, table: &LockTable) {
        if self.mains.is_empty() && !self.waiting.is_empty() && !self.main_rests {
            // Where there is no room now, there may be when this is called the next time.
            let _ = self.main_session(table);
        }
    }

    /// What has been given to a session that is gone, or was never there, fails, and so do the waits that are polled, unless they
    /// can go on by another one.
    fn fail(&mut self, id: SessionId, jobs: Vec<Job>, queries: Vec<Query>, cause: &Error, polls_go_on: bool) {
        let now = Instant::now();
        let put_back = |sessions: &mut Sessions, key| {
            if sessions.polls.put_back(key, now) {
                sessions.end_poll(key);
            }
        };
        for job in jobs {
            match job.purpose {
                Purpose::Poll => put_back(self, job.step.key()),
                Purpose::Table | Purpose::SecondTry | Purpose::Requeue | Purpose::Fence { .. } => {
                    self.job_done(id, job, Err(cause.clone()))
                }
            }
        }
        for query in queries {
            match query {
                Query::Upgrade { key, .. } => put_back(self, key),
                query => self.report_query(query, Err(cause.clone())),
            }
        }
        if polls_go_on {
            self.polls.take_of(id).into_iter().for_each(|wait| self.wait_failed(wait, cause));
        } else {
            self.fail_polls(cause);
        }
    }

    fn fail_polls(&mut self, cause: &Error) {
        self.polls.take_all().into_iter().for_each(|wait| self.wait_failed(wait, cause));
    }

    fn has_open(&self) -> bool {
        self.slots.values().any(Slot::is_open)
    }

    /// Forgets a session that is idle and takes leave of the server now; [`Sessions::closed`] must follow.
    pub fn close(&mut self, id: SessionId) {
        self.drop_session(id);
        self.main_rests = self.mains.is_empty() && !self.waiting.is_empty();
        self.closing += 1;
    }

    pub fn closed(&mut self) {
        self.closing -= 1;
    }

    fn drop_session(&mut self, id: SessionId) -> Option<Slot> {
        let slot = self.slots.remove(&id)?;
        if self.main == Some(id) {
            self.main = None;
        }
        self.mains.retain(|&main| main != id);
        self.opening.remove(&id);
        if slot.is_free {
            self.free.retain(|&free| free != id);
        }
        if let Some(wait) = slot.wait {
            self.waiting.remove(&wait.key);
        }
        Some(slot)
    }

    /// Has a session wait that is free to, or polls until one is.
    pub(super) fn wait(&mut self, wait: Wait) {
        match self.take_free() {
            Some(session) => self.assign(session, wait),
            None => self.poll(wait, None),
        }
    }

    pub(super) fn poll(&mut self, wait: Wait, home: Option<SessionId>) {
        let now = Instant::now();
        self.polls.add(wait, home, now);
        self.open_wait_sessions(now);
        if home.is_none() && !self.lacks_wait_sessions() {
            // Its session is there soon, if nothing is in the way.
            self.polls.postpone(wait.key, now + TIME_TO_OPEN);
        }
    }

    /// Ends a wait that is polled and of which no try is under way any more.
    pub(super) fn end_poll(&mut self, key: Key) {
        self.polls.remove(key);
        self.report(Event::WaitEnded { key }, None);
    }

    pub(super) fn assign(&mut self, session: SessionId, wait: Wait) {
        if let Some(slot) = self.slots.get_mut(&session) {
            slot.begin_wait(wait);
            self.waiting.insert(wait.key, session);
        }
    }

    /// Takes the wait of a session that is over, in whatever way.
    pub(super) fn take_wait(&mut self, session: SessionId) -> Option<Wait> {
        let wait = self.slots.get_mut(&session)?.wait.take()?;
        self.waiting.remove(&wait.key);
        Some(wait)
    }

    /// Ends a wait wherever it is.
    pub(super) fn cancel_wait(&mut self, key: Key) {
        match self.polls.cancel(key) {
            Cancelled::Ended => self.report(Event::WaitEnded { key }, None),
            Cancelled::Later => {}
            Cancelled::Unknown => {
                let slot = self.waiting.get(&key).and_then(|session| self.slots.get_mut(session));
                if let Some((changed, wait)) = slot.and_then(|slot| Some((&slot.changed, slot.wait.as_mut()?))) {
                    wait.is_cancelled = true;
                    changed.notify_one();
                }
            }
        }
    }

    pub(super) fn wait_failed(&mut self, wait: Wait, cause: &Error) {
        let Wait { key, is_cancelled, .. } = wait;
        if is_cancelled {
            self.report(Event::WaitEnded { key }, None);
        } else {
            self.report(Event::AcquireFailed { key }, Some(cause));
        }
    }

    /// Gives a session without work the oldest wait that has none, or keeps it for the next one; whether it has one now.
    pub(super) fn find_wait_for(&mut self, session: SessionId, table: &LockTable) -> bool {
        if !self.is_without_work(session, table) {
            return false;
        }
        let wait = self.polls.take_oldest();
        match wait {
            Some(wait) => self.assign(session, wait),
            None => self.keep_free(session, table),
        }
        wait.is_some()
    }

    /// Keeps a session without work for the next wait.
    pub(super) fn keep_free(&mut self, session: SessionId, table: &LockTable) {
        if self.is_without_work(session, table) {
            if let Some(slot) = self.slots.get_mut(&session) {
                slot.is_free = true;
                self.free.push(session);
            }
        }
    }

    /// Gives free sessions to waits that have none.
    pub(super) fn use_free(&mut self) {
        while self.polls.movable() > 0 {
            let Some(session) = self.take_free() else { return };
            if let Some(wait) = self.polls.take_oldest() {
                self.assign(session, wait);
            }
        }
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    fn take_free(&mut self) -> Option<SessionId> {
        let session = self.free.pop()?;
        if let Some(slot) = self.slots.get_mut(&session) {
            slot.is_free = false;
        }
        Some(session)
    }

    fn is_without_work(&self, session: SessionId, table: &LockTable) -> bool {
        self.slots
            .get(&session)
            .is_some_and(|slot| slot.role == Role::Wait && slot.is_open() && slot.wait.is_none() && !slot.is_free)
            && table.key_count_on(session) == 0
    }

    /// Gives a session a step to do.
    pub(super) fn push(&mut self, session: SessionId, job: Job) {
        match self.slots.get_mut(&session) {
            Some(slot) => {
                slot.push(job);
                self.list_unsent(session);
            }
            None => self.job_done(session, job, Err(gone())),
        }
    }

    /// Gives a session a query to ask.
    pub fn push_query(&mut self, session: SessionId, query: Query) {
        match self.slots.get_mut(&session) {
            Some(slot) => slot.push_query(query),
            None => self.report_query(query, Err(gone())),
        }
    }

    pub(super) fn report(&mut self, event: Event, cause: Option<&Error>) {
        self.reports.push_back(Report::Event(event, cause.cloned()));
    }

    pub(super) fn list_unsent(&mut self, session: SessionId) {
        if let Some(slot) = self.slots.get_mut(&session) {
            if slot.has_steps() && !std::mem::replace(&mut slot.is_unsent, true) {
                self.unsent.push(session);
            }
        }
    }

    /// Sends the steps of each listed session; keeps in the list those that still have some.
    pub fn send(&mut self, caller: Option<ThreadId>, send: impl Fn(&mut Slot)) {
        let (slots, to_attend) = (&mut self.slots, &mut self.to_attend);
        self.unsent.retain(|id| {
            let Some(slot) = slots.get_mut(id) else { return false };
            slot.watch();
            send(slot);
            if let (Some(caller), Some(wire)) = (caller, slot.wire()) {
                if wire.wants_attendance(caller) {
                    *to_attend = Some((*id, Arc::clone(wire)));
                }
            }
            slot.is_unsent = slot.has_steps();
            slot.is_unsent
        });
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// What may not be sent yet goes with the next answer.
    pub fn forget_unsent(&mut self) {
        for id in self.unsent.drain(..) {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.is_unsent = false;
            }
        }
    }
}

pub(super) fn gone() -> Error {
    Error::new("ECONNRESET", "the session is gone")
}
