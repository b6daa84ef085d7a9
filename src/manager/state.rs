//! What a manager knows, behind its lock: who is told, the sessions, and the lock table; and what passes between the three.
//!
//! Invariant: whenever the lock is released, every operation of the table has been given to a session, and every report of a
//! session has reached the table and every outcome a mailbox.

use super::clients::Clients;
use super::deadlocks::Deadlocks;
use super::fences::Fences;
use super::job::Query;
use super::liveness::Liveness;
use super::mailbox::{Answer, ClientId};
use super::pooled::{Looks, Pooled};
use super::publication;
use super::report::Report;
use super::sessions::Sessions;
use super::settings::Settings;
use crate::core::lock_table::{Event, LockTable, Operation, Rules, Search, Ticks};
use crate::core::{OwnerId, RequestId, SessionId};
use crate::error::Error;
use crate::pg::{Fenced, Findings, HeldNames};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long the process may hand a key on among its own owners before other processes get their turn.
const TENURE: Duration = Duration::from_millis(20);

pub(super) struct State {
    pub clients: Clients,
    pub sessions: Sessions,
    /// In the place of `sessions`, of which there is none then: the sessions through a transaction pooler.
    pub pooled: Option<Pooled>,
    /// Beside `sessions`: the waits that are looked for through a transaction pooler.
    pub looks: Option<Looks>,
    pub table: LockTable,
    pub deadlocks: Deadlocks,
    pub liveness: Liveness,
    pub fences: Fences,
    /// Whether sessions say in the database what they hold.
    pub publish_names: bool,
    epoch: Instant,
}

/// What is to be run on the I/O thread.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Sessions, with what tells them of changes.
    pub sessions: Vec<(SessionId, Arc<Notify>)>,
    /// Whether waits are to be polled.
    pub polls: bool,
    /// Whether waits are to be looked for through a pooler, beside direct sessions.
    pub looks: bool,
    /// Whether deadlocks are to be looked for.
    pub watch: bool,
}

impl State {
    pub fn new(settings: &Settings) -> State {
        State {
            clients: Clients::default(),
            sessions: Sessions::new(settings.max_wait_connections, settings.looks_through.is_some()),
            pooled: settings.max_pinned_connections.map(Pooled::new),
            looks: settings.looks_through.as_ref().map(|_| Looks::new()),
            table: LockTable::new(Rules {
                tenure: Ticks::try_from(TENURE.as_micros()).unwrap_or(Ticks::MAX),
                // A pooler may have ended a transaction and say so to nobody before that is asked.
                requeues: settings.max_pinned_connections.is_none(),
            }),
            deadlocks: Deadlocks::default(),
            liveness: Liveness::default(),
            fences: Fences::default(),
            publish_names: settings.publish_names,
            epoch: Instant::now(),
        }
    }

    pub fn now(&self) -> Ticks {
        Ticks::try_from(self.epoch.elapsed().as_micros()).unwrap_or(Ticks::MAX)
    }

    /// Changes the lock table and puts the outcomes into the mailboxes. `cause`: why, where they are bad news.
    pub fn update_table<T>(&mut self, cause: Option<&Error>, update: impl FnOnce(&mut LockTable, Ticks) -> T) -> T {
        let now = self.now();
        let result = update(&mut self.table, now);
        self.clients.post_outcomes(&mut self.table.effects().outcomes, cause);
        result
    }

    /// Tells the table what sessions have reported, and gives its operations to sessions, until there is nothing more of either.
    pub fn dispatch_operations(&mut self) {
        loop {
            while let Some(report) = self.next_report() {
                match report {
                    Report::Event(event, cause) => {
                        self.update_table(cause.as_ref(), |table, now| table.update(event, now));
                    }
                    Report::Answer(ticket, answer) => self.clients.post(ticket, answer),
                    Report::InquiryFailed => self.deadlocks.inquiry_failed(),
                    Report::FenceEnded(key) => {
                        let next = self.fences.end(key);
                        next.into_iter().for_each(|(hold, ticket)| self.fence(hold, ticket));
                    }
                }
            }
            let operations = std::mem::take(&mut self.table.effects().operations);
            if operations.is_empty() && self.sessions.reports.is_empty() {
                break;
            }
            for operation in operations {
                self.route(operation);
            }
        }
        if let Some(looks) = &mut self.looks {
            self.sessions.waits.take_leaving().for_each(|wait| looks.add(wait, Instant::now()));
        }
        self.tell_closers();
    }

    fn route(&mut self, operation: Operation) {
        if let Operation::EndFence { key, .. } = operation {
            self.fences.begin_end(key);
        }
        if let Some(pooled) = &mut self.pooled {
            return pooled.route(operation);
        }
        if let (Some(looks), Operation::CancelWait { key }) = (&mut self.looks, operation) {
            if looks.cancel(key) {
                return self.sessions.reports.push_event(Event::WaitEnded { key }, None);
            }
        }
        self.sessions.route(operation, &self.table);
    }

    fn next_report(&mut self) -> Option<Report> {
        let pooled = self.pooled.as_mut().and_then(|pooled| pooled.reports.take_first());
        pooled.or_else(|| self.sessions.reports.take_first())
    }

    /// Finds out whether the sessions are still there of which that is in doubt.
    pub fn check_liveness(&mut self) {
        if self.liveness.check(&mut self.sessions, self.pooled.as_mut(), &self.table) {
            self.dispatch_operations();
        }
    }

    /// What is to be run on the I/O thread because of what has happened.
    pub fn take_tasks(&mut self) -> Option<Tasks> {
        let watch = std::mem::take(&mut self.deadlocks.is_to_be_watched);
        let (sessions, polls) = match &mut self.pooled {
            Some(pooled) => (pooled.sessions.slots.take_to_open(), pooled.take_tick()),
            None => (self.sessions.slots.take_to_open(), self.sessions.waits.polls.take_start()),
        };
        let looks = self.looks.as_mut().is_some_and(Looks::take_to_run);
        (polls || looks || watch || !sessions.is_empty()).then_some(Tasks { sessions, polls, looks, watch })
    }

    /// Answers those who have closed an owner, once the sessions are gone that only it used.
    fn tell_closers(&mut self) {
        if self.clients.take_new_closer() && !self.clients.has_owners() {
            self.sessions.slots.notify_all();
            self.pooled.iter().for_each(|pooled| pooled.sessions.slots.notify_all());
            self.looks.iter().for_each(|looks| looks.changed.notify_one());
        }
        let are_gone = self.sessions.slots.are_gone()
            && self.pooled.as_ref().is_none_or(|pooled| pooled.sessions.slots.are_gone())
            && !self.looks.as_ref().is_some_and(Looks::is_running);
        if self.clients.has_owners() || are_gone {
            self.clients.tell_closers();
        }
    }

    pub fn close_owner(&mut self, owner: OwnerId, ticket: RequestId) {
        self.clients.close_owner(owner, ticket);
        let confirmations = self.update_table(None, |table, now| table.close_owner(owner, ticket, now));
        self.clients.expect_releases(ticket, confirmations);
    }

    /// The client's thread has ended: nobody there can use or release anything any more.
    pub fn close_client(&mut self, client: ClientId) {
        for owner in self.clients.owners_of(client) {
            self.close_owner(owner, client.unanswered());
        }
        self.clients.forget(client);
    }

    /// Looks for deadlocks in this process for a moment; whether there is more to look at.
    pub fn search_deadlocks(&mut self) -> bool {
        match self.update_table(None, |table, now| table.search_deadlock(Deadlocks::AGE, now, Deadlocks::STEPS)) {
            Search::Deadlock(youngest) => {
                self.update_table(None, |table, now| table.refuse(youngest, now));
                true
            }
            Search::Unfinished => true,
            Search::Done => false,
        }
    }

    /// Looks after those who wait: that there is a session for tries, and for deadlocks with other processes, by way of the server.
    /// Whether to do so again some time.
    pub fn look_after_waits(&mut self) -> bool {
        let now = self.now();
        // A wait through a pooler is nowhere to be seen by others.
        let is_seen = self.pooled.is_none();
        if is_seen {
            self.sessions.keep_main_session();
            self.sessions.relieve_opening(&self.table);
        }
        self.deadlocks.inquire(&self.table, &mut self.sessions, now, is_seen)
    }

    /// Takes note of the answer to an inquiry on this session.
    pub fn inquired(&mut self, session: SessionId, findings: Findings) {
        let now = self.now();
        if let Some(victim) = self.deadlocks.inquired(session, findings, &self.table, now) {
            self.update_table(None, |table, now| table.refuse(victim, now));
        }
    }

    /// Takes a key of its own for a hold, and a token; once earlier holds of the same key have given up theirs.
    pub fn fence(&mut self, hold: RequestId, ticket: RequestId) {
        let key = self.table.key_of(hold);
        if key.is_some_and(|key| self.fences.holds_up(key, hold, ticket)) {
            return;
        }
        match self.table.home_of(hold) {
            Some(home) => self.sessions.push_query(home, Query::Fence { hold, ticket }),
            None => self.clients.post(ticket, Answer::Failed(not_held())),
        }
    }

    /// The session has taken a key of its own for a hold.
    pub fn fenced(&mut self, session: SessionId, hold: RequestId, ticket: RequestId, fenced: Fenced) {
        if self.table.fence(hold, fenced.own_key()) {
            let is_covered = self.table.is_covered(hold);
            self.clients.post(ticket, Answer::Fenced(fenced, is_covered));
        } else {
            // Nobody was told of it.
            let own_key = fenced.own_key();
            self.sessions.end_fence(own_key, own_key, session);
            self.clients.post(ticket, Answer::Failed(not_held()));
        }
    }

    /// What the session is to say of its locks; nothing where nobody has a name for any of them.
    pub fn held_names(&mut self, id: SessionId) -> Option<HeldNames> {
        let slot = self.sessions.slots.get_mut(id).filter(|_| self.publish_names)?;
        publication::held_names(id, slot, &self.table)
    }
}

/// The hold that something is asked of has ended.
pub(super) fn not_held() -> Error {
    Error::new("ERR_LOCK_LOST", "the lock is not held any more")
}
