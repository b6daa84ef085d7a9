//! The manager's state behind its lock: the lock table, the sessions, and who waits for what to be told.
//!
//! Invariant: whenever the lock is released, every operation of the table has been given to a session and every outcome
//! is in a mailbox.

use super::fences::Fences;
use super::mailbox::{Answer, ClientId, Mailbox};
use super::pooled::{Pooled, Report};
use super::retries::Retries;
use super::rings::Rings;
use super::slot::{Job, Slot, Wait};
use super::Settings;
use crate::core::lock_table::{LockTable, Outcome, Ticks};
use crate::core::{Key, OwnerId, RequestId, SessionId};
use crate::error::Error;
use crate::pg::{Role, Wire};
use foldhash::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the process may hand a key on among its own owners before other processes get their turn.
const TENURE: Duration = Duration::from_millis(20);

pub(super) struct State {
    pub settings: Settings,
    pub table: LockTable,
    pub slots: HashMap<SessionId, Slot>,
    /// In the place of `slots`, of which there is none then: the sessions through a transaction pooler.
    pub pooled: Option<Pooled>,
    /// The session that new tries go to.
    pub main: Option<SessionId>,
    pub retries: Retries,
    /// Keys that were found taken elsewhere, and when.
    pub contended: HashMap<Key, Instant>,
    /// When those that do not count any more were last taken out.
    pub contended_pruned: Instant,
    /// Until then no wait session is opened, as one could not be.
    pub wait_sessions_paused: Option<Instant>,
    /// Sessions that have steps to send.
    pub unsent: Vec<SessionId>,
    /// A session that wants the calling thread's attendance.
    pub to_attend: Option<(SessionId, Arc<Wire>)>,
    /// Sessions to be started once the state is unlocked.
    pub to_open: Vec<SessionId>,
    pub start_retrying: bool,
    pub rings: Rings,
    /// When was looked for sessions that may be gone, by [`crate::pg::clock`].
    pub doubts_settled: Duration,
    pub fences: Fences,
    pub start_watching: bool,
    mailboxes: HashMap<ClientId, Arc<Mailbox>>,
    /// Mailboxes that were empty and are not any more.
    pub to_wake: Vec<Arc<Mailbox>>,
    owners: HashMap<OwnerId, ClientId>,
    /// Closing owners: the ticket, and how many releases are still unconfirmed.
    closing: HashMap<RequestId, usize>,
    /// Closed owners who wait for the last session to be gone.
    closers_waiting: Vec<RequestId>,
    /// Sessions that are taking leave of the server.
    leaving: usize,
    epoch: Instant,
}

impl State {
    pub fn new(settings: Settings) -> State {
        State {
            pooled: settings.max_pinned_connections.map(Pooled::new),
            settings,
            table: LockTable::new(Ticks::try_from(TENURE.as_micros()).unwrap_or(Ticks::MAX)),
            slots: HashMap::default(),
            main: None,
            retries: Retries::default(),
            contended: HashMap::default(),
            contended_pruned: Instant::now(),
            wait_sessions_paused: None,
            unsent: Vec::new(),
            to_attend: None,
            to_open: Vec::new(),
            start_retrying: false,
            rings: Rings::default(),
            doubts_settled: Duration::ZERO,
            fences: Fences::default(),
            start_watching: false,
            mailboxes: HashMap::default(),
            to_wake: Vec::new(),
            owners: HashMap::default(),
            closing: HashMap::default(),
            closers_waiting: Vec::new(),
            leaving: 0,
            epoch: Instant::now(),
        }
    }

    pub fn now(&self) -> Ticks {
        Ticks::try_from(self.epoch.elapsed().as_micros()).unwrap_or(Ticks::MAX)
    }

    /// Tells the lock table of an event and puts its outcomes into the mailboxes. `cause`: why, where the event is a failure.
    pub fn update_table<T>(&mut self, cause: Option<&Error>, event: impl FnOnce(&mut LockTable, Ticks) -> T) -> T {
        let now = self.now();
        let result = event(&mut self.table, now);
        self.post_outcomes(cause);
        result
    }

    pub fn acquire_failed(&mut self, key: Key, cause: &Error) {
        self.update_table(Some(cause), |table, now| table.acquire_failed(key, now));
    }

    /// The key is now held on this session.
    pub fn acquired(&mut self, key: Key, session: SessionId) {
        if self.table.home(key).is_none() {
            if let Some(slot) = self.slots.get_mut(&session) {
                slot.held += 1;
            }
        }
        self.update_table(None, |table, now| table.acquired(key, session, now));
    }

    /// Gives every operation of the lock table to a session.
    pub fn dispatch_operations(&mut self) {
        loop {
            self.note_reports();
            let operations = std::mem::take(&mut self.table.effects().operations);
            if operations.is_empty() {
                break;
            }
            for operation in operations {
                match &mut self.pooled {
                    Some(pooled) => pooled.route(operation),
                    None => self.route(operation),
                }
            }
        }
        if let Some(pooled) = &mut self.pooled {
            self.to_open.extend(pooled.take_to_open());
            self.start_retrying |= pooled.take_tick();
            self.tell_closers();
        }
    }

    /// Takes note of what sessions through a pooler have reported.
    fn note_reports(&mut self) {
        while let Some(report) = self.pooled.as_mut().and_then(|pooled| pooled.reports.pop_front()) {
            match report {
                Report::Event(event, cause) => self.update_table(cause.as_ref(), |table, now| event.tell(table, now)),
                Report::Answer(ticket, answer) => self.post(ticket, answer),
            }
        }
    }

    pub fn post(&mut self, request: RequestId, answer: Answer) {
        if request == ClientId::of(request).unanswered() {
            return;
        }
        // A client that is gone is told nothing.
        if let Some(mailbox) = self.mailboxes.get(&ClientId::of(request)) {
            if mailbox.put(request, answer) {
                self.to_wake.push(Arc::clone(mailbox));
            }
        }
    }

    fn post_outcomes(&mut self, cause: Option<&Error>) {
        if self.table.effects().outcomes.is_empty() {
            return;
        }
        let mut outcomes = std::mem::take(&mut self.table.effects().outcomes);
        let cause_of_loss =
            || cause.cloned().unwrap_or_else(|| Error::new("ECONNRESET", "the session that held it is gone"));
        for (request, outcome) in outcomes.drain(..) {
            let answer = match outcome {
                Outcome::Granted => Answer::Granted,
                Outcome::Denied => Answer::Denied,
                Outcome::Failed => Answer::Failed(cause_of_loss()),
                Outcome::Closed => Answer::Failed(Error::client_closed()),
                Outcome::Deadlock => Answer::Failed(Error::deadlock()),
                Outcome::Lost => Answer::Lost(Error::lock_lost(&cause_of_loss())),
                Outcome::NotHeld => Answer::NotHeld,
                Outcome::Released { .. } | Outcome::ReleaseFailed { .. } if self.closing.contains_key(&request) => {
                    self.confirm_closing(request);
                    continue;
                }
                Outcome::Released { hold } => Answer::Released(hold),
                Outcome::ReleaseFailed { hold } => Answer::ReleaseFailed(hold, Error::lock_lost(&cause_of_loss())),
            };
            self.post(request, answer);
        }
        // Keeps the allocation; nothing was added meanwhile, as the table was not called.
        self.table.effects().outcomes = outcomes;
    }

    pub fn open_owner(&mut self, owner: OwnerId, mailbox: &Arc<Mailbox>) {
        self.mailboxes.entry(mailbox.client).or_insert_with(|| Arc::clone(mailbox));
        self.owners.insert(owner, mailbox.client);
        for ticket in std::mem::take(&mut self.closers_waiting) {
            self.post(ticket, Answer::Closed);
        }
    }

    /// Whether some owner may still call.
    pub fn has_owners(&self) -> bool {
        !self.owners.is_empty()
    }

    pub fn owner_is_open(&self, owner: OwnerId) -> bool {
        self.owners.contains_key(&owner.group())
    }

    pub fn close_owner(&mut self, owner: OwnerId, ticket: RequestId) {
        // Some confirmations may come before their number is known: begin with more than there can be.
        const UNKNOWN: usize = usize::MAX / 2;
        *self.closing.entry(ticket).or_insert(0) += UNKNOWN;
        let confirmations = self.update_table(None, |table, now| table.close_owner(owner, ticket, now));
        self.owners.remove(&owner);
        if let Some(left) = self.closing.get_mut(&ticket) {
            *left = *left - UNKNOWN + confirmations + 1;
        }
        self.confirm_closing(ticket);
    }

    /// The client's thread has ended: nobody there can use or release anything any more.
    pub fn close_client(&mut self, client: ClientId) {
        let mine: Vec<OwnerId> =
            self.owners.iter().filter(|(_, whose)| **whose == client).map(|(&owner, _)| owner).collect();
        for owner in mine {
            self.close_owner(owner, client.unanswered());
        }
        self.mailboxes.remove(&client);
    }

    fn confirm_closing(&mut self, ticket: RequestId) {
        let Some(left) = self.closing.get_mut(&ticket) else { return };
        *left -= 1;
        if *left > 0 {
            return;
        }
        self.closing.remove(&ticket);
        if self.has_owners() {
            self.post(ticket, Answer::Closed);
            return;
        }
        self.closers_waiting.push(ticket);
        for slot in self.slots.values() {
            slot.changed.notify_one();
        }
        self.pooled.iter().for_each(Pooled::notify_all);
        self.tell_closers();
    }

    /// Makes room for a new session.
    pub fn begin_session(&mut self, role: Role) -> SessionId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = SessionId(NEXT.fetch_add(1, Ordering::Relaxed));
        self.slots.insert(id, Slot::new(role, Instant::now()));
        self.to_open.push(id);
        id
    }

    /// Forgets a session that is gone or about to be.
    pub fn drop_session(&mut self, id: SessionId) -> Option<Slot> {
        if self.main == Some(id) {
            self.main = None;
        }
        self.slots.remove(&id)
    }

    /// Forgets an idle session that now takes leave of the server.
    pub fn leave(&mut self, id: SessionId) {
        self.drop_session(id);
        self.leaving += 1;
    }

    pub fn left(&mut self) {
        self.leaving -= 1;
        self.tell_closers();
    }

    pub fn tell_closers(&mut self) {
        if self.slots.is_empty() && self.leaving == 0 && self.pooled.as_ref().is_none_or(Pooled::are_gone) {
            for ticket in std::mem::take(&mut self.closers_waiting) {
                self.post(ticket, Answer::Closed);
            }
        }
    }

    /// The session is gone with all its locks; `unfinished` is what it was doing.
    pub fn lost(&mut self, id: SessionId, unfinished: Vec<Job>, cause: &Error) {
        let Some(slot) = self.drop_session(id) else { return };
        self.update_table(Some(cause), |table, now| table.session_lost(id, now));
        let wait = slot.wait;
        for job in unfinished.into_iter().chain(slot.into_jobs()) {
            self.job_failed(job, cause);
        }
        if let Some(wait) = wait {
            self.wait_failed(wait, cause);
        }
        self.tell_closers();
    }

    /// The session could not be opened.
    pub fn open_failed(&mut self, id: SessionId, cause: &Error) {
        let Some(slot) = self.drop_session(id) else { return };
        let other_main = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.role == Role::Main && slot.is_open())
            .min_by_key(|(_, slot)| slot.load())
            .map(|(&id, _)| id);
        match other_main {
            // The server answers, it only has no room for more sessions: what is there must do.
            Some(other) => {
                if self.main.is_none() {
                    self.main = Some(other);
                }
                let wait = slot.wait;
                slot.into_jobs().for_each(|job| self.push_or_fail(other, job));
                if let Some(wait) = wait {
                    let now = Instant::now();
                    self.wait_sessions_paused = Some(now + Duration::from_secs(1));
                    self.retry_later(wait, None);
                    if wait.cancelled {
                        self.cancel_wait(wait.key);
                    }
                }
            }
            None => {
                let wait = slot.wait;
                for job in slot.into_jobs() {
                    self.job_failed(job, cause);
                }
                if let Some(wait) = wait {
                    self.wait_failed(wait, cause);
                }
            }
        }
        self.tell_closers();
    }

    pub fn wait_failed(&mut self, wait: Wait, cause: &Error) {
        if wait.cancelled {
            self.update_table(None, |table, now| table.wait_ended(wait.key, now));
        } else {
            self.acquire_failed(wait.key, cause);
        }
    }
}
