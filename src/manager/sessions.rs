//! The sessions of one manager: which there are, how they begin and end, and what becomes of their work then. It knows neither
//! callers nor owners.
//!
//! Invariant: what the lock table or a caller has asked for is on a session or polled, or its report is in [`Sessions::reports`].

use super::contended::Contended;
use super::job::{Job, Purpose, Query};
use super::mailbox::Answer;
use super::main_sessions::MainSessions;
use super::report::{Report, Reports};
use super::slot::Slot;
use super::slots::{SessionSlot, Slots};
use super::unsent::Unsent;
use super::waits::Waits;
use crate::core::lock_table::{Event, LockTable};
use crate::core::{Key, SessionId, Step, ThreadId};
use crate::error::Error;
use crate::pg::{Role, Wire};
use foldhash::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long after the end of a session the server may still count it.
const TIME_TO_END: Duration = Duration::from_millis(500);

pub(super) struct Sessions {
    pub slots: Slots<Slot>,
    pub(super) mains: MainSessions,
    pub waits: Waits,
    pub(super) contended: Contended,
    pub unsent: Unsent,
    /// Keys whose release is under way though somebody here waits for them again: they are not tried before it is answered. Should its
    /// statement fail, what the session holds of them then must not be somebody's.
    pub(super) given_up: HashSet<Key>,
    /// When a session ended last.
    last_end: Option<Instant>,
    /// A session was found to be served by a backend that is not its own: whether there is another way is to be asked.
    pub suspects_pooler: bool,
    pub reports: Reports,
}

impl Sessions {
    /// `most_waiting`: the most sessions that wait in the server's queue; `waits_leave`: whether waits that last are left to others.
    pub fn new(most_waiting: usize, waits_leave: bool) -> Sessions {
        Sessions {
            slots: Slots::new(),
            mains: MainSessions::new(),
            waits: Waits::new(most_waiting, waits_leave),
            contended: Contended::new(Instant::now()),
            unsent: Unsent::default(),
            given_up: HashSet::default(),
            last_end: None,
            suspects_pooler: false,
            reports: Reports::default(),
        }
    }

    /// Whether the session must stay though it is idle: waits that have no session of their own are polled on it.
    pub fn is_needed_for_waits(&self, id: SessionId) -> bool {
        self.mains.is_current(id) && !self.waits.polls.is_empty()
    }

    /// The session for new tries: one that is not too full, newly begun if need be.
    ///
    /// # Errors
    /// There is none, and the server is left alone, as it had no room for one a moment ago.
    pub fn main_session(&mut self, table: &LockTable) -> Result<SessionId, Error> {
        if let Some(main) = self.mains.find(&self.slots, table) {
            return Ok(main);
        }
        let taken_back = if !self.mains.is_empty() {
            None
        } else if self.mains.are_held_back() {
            // A wait that has a connection can do without it for a moment.
            self.take_back(table)
        } else {
            self.take_back_idle()
        };
        taken_back.map_or_else(|| self.begin_main_session(), Ok)
    }

    /// The session for what another one, which has died meanwhile, was to do: none that may have died as well, if that can be helped.
    fn session_for_second_try(&mut self, table: &LockTable) -> Result<SessionId, Error> {
        if self.mains.is_empty() && !self.mains.are_held_back() {
            self.begin_main_session()
        } else {
            self.main_session(table)
        }
    }

    fn begin_main_session(&mut self) -> Result<SessionId, Error> {
        self.mains.may_begin()?;
        let main = self.slots.begin(Slot::new(Role::Main, Instant::now()));
        self.mains.add(main);
        Ok(main)
    }

    /// Sees to it that waits have a session to fall back on.
    pub fn keep_main_session(&mut self) {
        if self.mains.is_empty()
            && self.waits.have_sessions()
            && !self.mains.are_resting()
            && self.take_back_idle().is_none()
        {
            // Where there is no room now, there may be when this is called the next time.
            let _ = self.begin_main_session();
        }
    }

    /// The session is open. `is_probed`: whether somebody who stands between has been asked for.
    pub fn opened(&mut self, id: SessionId, wire: &Arc<Wire>, is_probed: bool, table: &LockTable) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.opened(wire, is_probed);
        match slot.role {
            Role::Main => self.mains.opened(),
            Role::Wait => {
                self.waits.session_opened(id);
                self.find_wait_for(id, table);
            }
        }
        self.list_unsent(id);
    }

    /// There is no thread for these sessions, and none for polls.
    pub fn not_started(&mut self, sessions: &[SessionId], cause: &Error, table: &LockTable) {
        self.waits.polls.is_ticking = false;
        sessions.iter().for_each(|&id| self.open_failed(id, cause, table));
    }

    pub fn open_failed(&mut self, id: SessionId, cause: &Error, table: &LockTable) {
        let Some(slot) = self.remove(id) else { return };
        if slot.role == Role::Wait {
            // Waits are polled meanwhile, except where a session would mean nothing.
            self.waits.session_failed();
            if cause.is_transaction_pooling() {
                self.fail_polls(cause);
            }
            return;
        }
        let (jobs, queries) = slot.into_work();
        let mut other = self.mains.open_failed(&self.slots, cause);
        let is_missing = other.is_none() && !(jobs.is_empty() && queries.is_empty());
        if is_missing && !cause.is_client_closed() && !cause.is_transaction_pooling() {
            // There is none to be had for its wait either.
            self.waits.session_failed();
            other = self.take_back(table);
        }
        if let Some(other) = other {
            self.push_all(other, jobs, queries);
        } else {
            self.fail(id, jobs, queries, cause, self.slots.has_open());
        }
    }

    /// The session is gone with all its locks.
    pub fn lost(&mut self, id: SessionId, cause: &Error, table: &LockTable) {
        let Some(slot) = self.remove(id) else { return };
        self.report(Event::SessionLost { session: id }, Some(cause));
        // Where it is new that backends are shared, the next session may be left its own.
        let is_suspicion = cause.is_transaction_pooling() && !slot.is_probed;
        self.suspects_pooler |= is_suspicion;
        // Another one can be had, as far as anybody knows, where there was none for want of work alone.
        let has_other = self.slots.has_open() || self.mains.end_rest();
        let goes_on = is_suspicion || (has_other && !cause.is_transaction_pooling());
        let wait = slot.wait;
        // Whoever has just asked is not told that a session without locks has been dead for long, or has been served by another
        // backend than its own, where nothing was done.
        let was_dead = slot.has_rested() && !cause.is_transaction_pooling();
        let is_repeated = table.key_count_on(id) == 0 && (was_dead || is_suspicion);
        let (jobs, queries) = slot.into_work();
        let (again, jobs): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| is_repeated && job.may_be_repeated());
        let (asked_again, queries): (Vec<Query>, Vec<Query>) =
            queries.into_iter().partition(|query| is_repeated && query.may_be_repeated());
        if let Some(wait) = wait {
            // What was to be added to a lock of the session is over with it; any other wait does not depend on it.
            if goes_on && !wait.is_cancelled && table.home(wait.key) != Some(id) {
                self.waits.polls.add(wait, None, Instant::now());
            } else {
                self.reports.push_failed_wait(wait, cause);
            }
        }
        self.fail(id, jobs, queries, cause, goes_on);
        for Job { step, .. } in again {
            let job = Job { step, purpose: Purpose::SecondTry };
            match self.session_for_second_try(table) {
                Ok(main) => self.push(main, job),
                Err(_) => self.job_failed(job, cause),
            }
        }
        for query in asked_again {
            match self.session_for_second_try(table) {
                Ok(main) => self.push_query(main, query),
                Err(_) => self.query_failed(query, cause),
            }
        }
        self.keep_main_session();
    }

    /// Forgets a session that is idle and closes now; [`Sessions::closed`] must follow.
    pub fn close(&mut self, id: SessionId) {
        self.remove(id);
        self.mains.closed(self.waits.have_sessions());
        self.slots.begin_closing();
    }

    /// A session that was closing is gone.
    pub fn closed(&mut self) {
        self.slots.end_closing();
        self.room_is_made();
    }

    fn remove(&mut self, id: SessionId) -> Option<Slot> {
        let slot = self.slots.remove(id)?;
        self.mains.remove(id);
        self.waits.remove_session(id, &slot);
        if slot.is_open() {
            self.room_is_made();
        }
        Some(slot)
    }

    /// A session of this manager has ended: where the server had no room for one more, it has now.
    fn room_is_made(&mut self) {
        self.last_end = Some(Instant::now());
        self.mains.forget_refusal();
    }

    /// Whether a server that says it has no room may not have noticed yet that a session of this manager has ended.
    pub fn is_room_to_come(&self) -> bool {
        self.last_end.is_some_and(|end| end.elapsed() < TIME_TO_END) || self.slots.are_closing()
    }

    /// What has been given to a session that is gone, or was never there, fails, and so do the waits that are polled, unless they
    /// can go on by another one.
    fn fail(&mut self, id: SessionId, jobs: Vec<Job>, queries: Vec<Query>, cause: &Error, polls_go_on: bool) {
        let now = Instant::now();
        for job in jobs {
            match job.purpose {
                Purpose::Poll => drop(self.poll_again(job.step.key(), now)),
                Purpose::Table | Purpose::SecondTry | Purpose::Requeue | Purpose::Fence { .. } => {
                    self.job_failed(job, cause);
                }
            }
        }
        for query in queries {
            match query {
                Query::Upgrade { key, .. } => drop(self.poll_again(key, now)),
                query => self.query_failed(query, cause),
            }
        }
        if polls_go_on {
            let waits = self.waits.polls.take_of(id);
            waits.into_iter().for_each(|wait| self.reports.push_failed_wait(wait, cause));
        } else {
            self.fail_polls(cause);
        }
    }

    fn fail_polls(&mut self, cause: &Error) {
        self.waits.polls.take_all().into_iter().for_each(|wait| self.reports.push_failed_wait(wait, cause));
    }

    /// Has a wait polled again, unless it is to end; whether it goes on.
    pub(super) fn poll_again(&mut self, key: Key, now: Instant) -> bool {
        let is_to_end = self.waits.polls.put_back(key, now);
        if is_to_end {
            self.waits.polls.remove(key);
            self.report(Event::WaitEnded { key }, None);
        }
        !is_to_end
    }

    /// Gives a session without work a wait, if there is one; whether it has one now.
    pub fn find_wait_for(&mut self, session: SessionId, table: &LockTable) -> bool {
        self.waits.find_for(session, &mut self.slots, table)
    }

    /// Gives a session a step to do.
    pub(super) fn push(&mut self, session: SessionId, job: Job) {
        match self.slots.get_mut(session) {
            Some(slot) => {
                slot.push(job);
                self.unsent.list(session, slot);
            }
            None => self.job_failed(job, &gone()),
        }
    }

    /// Gives a session a query to ask.
    pub fn push_query(&mut self, session: SessionId, query: Query) {
        match self.slots.get_mut(session) {
            Some(slot) => slot.push_query(query),
            None => self.query_failed(query, &gone()),
        }
    }

    /// Gives a session what another one was to do.
    pub(super) fn push_all(&mut self, session: SessionId, jobs: Vec<Job>, queries: Vec<Query>) {
        jobs.into_iter().for_each(|job| self.push(session, job));
        queries.into_iter().for_each(|query| self.push_query(session, query));
    }

    pub(super) fn list_unsent(&mut self, session: SessionId) {
        if let Some(slot) = self.slots.get_mut(session) {
            self.unsent.list(session, slot);
        }
    }

    /// Sends the steps of sessions that have some.
    pub fn send(&mut self, caller: Option<ThreadId>, send: impl Fn(&mut Slot)) {
        self.unsent.send(&mut self.slots, caller, send);
    }

    /// What may not be sent yet goes with the next answer.
    pub fn forget_unsent(&mut self) {
        self.unsent.forget(&mut self.slots);
    }

    pub(super) fn report(&mut self, event: Event, cause: Option<&Error>) {
        self.reports.push_event(event, cause);
    }

    /// Reports that a job was not done, or that nobody knows.
    pub(super) fn job_failed(&mut self, job: Job, cause: &Error) {
        let key = job.step.key();
        match (job.purpose, job.step) {
            (Purpose::Requeue, _) => drop(self.given_up.remove(&key)),
            (Purpose::Fence { of }, _) => self.reports.push(Report::FenceEnded(of)),
            (Purpose::Poll, _) => self.poll_failed(key, cause),
            (_, Step::Try { .. } | Step::Requeue { .. }) => self.report(Event::AcquireFailed { key }, Some(cause)),
            (_, Step::Release { .. }) => self.report(Event::Released { key, held: false }, Some(cause)),
            (_, Step::Downgrade { .. }) => self.report(Event::Downgraded { key, done: false }, None),
        }
    }

    /// Reports that a query could not be made.
    pub(super) fn query_failed(&mut self, query: Query, cause: &Error) {
        match query {
            Query::Probe { key } => self.report(Event::Probed { key, contended: false }, None),
            Query::Upgrade { key, .. } => self.poll_failed(key, cause),
            Query::Holders { ticket, .. } | Query::Verify { ticket } | Query::Fence { ticket, .. } => {
                self.reports.push(Report::Answer(ticket, Answer::Failed(cause.clone())));
            }
            Query::Inquire => self.reports.push(Report::InquiryFailed),
        }
    }

    fn poll_failed(&mut self, key: Key, cause: &Error) {
        if let Some(wait) = self.waits.polls.remove(key) {
            self.reports.push_failed_wait(wait, cause);
        }
    }
}

pub(super) fn gone() -> Error {
    Error::new("ECONNRESET", "the session is gone")
}
