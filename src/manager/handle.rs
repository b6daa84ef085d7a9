//! The handle by which callers and the sessions' tasks reach a manager's state.

use super::job::Query;
#[cfg(doc)]
use super::mailbox::Answer;
use super::mailbox::{ClientId, Mailbox};
use super::settings::Settings;
use super::slot::Slot;
use super::state::{not_held, State, Tasks};
use crate::core::lock_table::{Admission, Release, Request};
use crate::core::{Key, Mode, OwnerId, RequestId, SessionId};
use crate::error::Error;
use crate::pg::{ConnectConfig, Wire};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The locks of this process at one server.
pub struct Manager {
    this: Weak<Manager>,
    pub(super) config: ConnectConfig,
    pub(super) settings: Settings,
    state: Mutex<State>,
    start: fn(&Arc<Manager>, Tasks) -> Result<(), Error>,
}

/// The immediate answer to a call.
pub struct Reply<T> {
    /// What it is.
    pub answer: T,
    /// Whether the call has put something into the caller's empty mailbox, for which nobody wakes the caller.
    pub mail: bool,
    /// Whether something is to be sent by [`Manager::send`], once the caller has made all the calls that it is about to make.
    pub unsent: bool,
    /// A session to which the caller is to attend, if it can, by [`Manager::attend`].
    pub to_attend: Option<(SessionId, Arc<Wire>)>,
}

impl Manager {
    /// `start` has tasks run on the I/O thread.
    pub(super) fn new(
        config: ConnectConfig,
        settings: Settings,
        start: fn(&Arc<Manager>, Tasks) -> Result<(), Error>,
    ) -> Arc<Manager> {
        Arc::new_cyclic(|this| Manager {
            this: Weak::clone(this),
            state: Mutex::new(State::new(&settings)),
            config,
            settings,
            start,
        })
    }

    /// A new group of owners, whose requests come from the mailbox's thread. While one is open, idle sessions stay open for
    /// [`Settings::idle_timeout`].
    pub fn open_owner(&self, mailbox: &Arc<Mailbox>) -> OwnerId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let owner = OwnerId::new(NEXT.fetch_add(1, Ordering::Relaxed));
        self.change(None, |state| state.clients.open_owner(owner, mailbox));
        owner
    }

    /// Ends a group of owners: gives up their holds, ends their waits, and the sessions too where it was the last. Answers
    /// [`Answer::Closed`] to the ticket.
    pub fn close_owner(&self, owner: OwnerId, ticket: RequestId) -> Reply<()> {
        self.change(Some(ticket.thread), |state| state.close_owner(owner, ticket))
    }

    /// Ends a group of owners that nobody can use any more, if it is still open.
    pub fn abandon_owner(&self, owner: OwnerId, client: ClientId) {
        self.change(None, |state| {
            if state.clients.is_open(owner) {
                state.close_owner(owner, client.unanswered());
            }
        });
    }

    /// Ends all that a client has, whose thread has ended.
    pub fn close_client(&self, client: ClientId) {
        self.change(None, |state| state.close_client(client));
    }

    /// Asks for a lock. [`Admission::Pending`] is followed by [`Answer::Granted`], [`Answer::Denied`] or
    /// [`Answer::Failed`]; a granted hold may be followed by [`Answer::Lost`].
    ///
    /// # Errors
    /// `ERR_CLIENT_CLOSED`; `40P01` for an upgrade that waits for another upgrade of the same key. Other deadlocks are found
    /// later: [`Answer::Failed`] with `40P01`.
    pub fn acquire(&self, request: Request) -> Reply<Result<Admission, Error>> {
        self.change(Some(request.id.thread), |state| {
            if !state.clients.is_open(request.owner) {
                return Err(Error::client_closed());
            }
            let patient = request.patient;
            match state.update_table(None, |table, now| table.acquire(&request, now)) {
                Admission::Deadlock => Err(Error::deadlock()),
                Admission::Pending if patient => {
                    state.deadlocks.watch();
                    Ok(Admission::Pending)
                }
                admission => Ok(admission),
            }
        })
    }

    /// Finds out which sessions are still there whose last sign of life does not promise it any more. Every call does.
    pub fn check_liveness(&self, client: ClientId) -> Reply<()> {
        self.change(Some(client), |_| ())
    }

    /// Gives up a hold. [`Release::Pending`] is followed by [`Answer::Released`] or [`Answer::ReleaseFailed`].
    pub fn release(&self, hold: RequestId, ticket: RequestId) -> Reply<Release> {
        self.change(Some(ticket.thread), |state| {
            state.update_table(None, |table, now| table.release(hold, ticket, now))
        })
    }

    /// Gives up the owner's latest hold. [`Release::Pending`] may besides be followed by [`Answer::NotHeld`].
    ///
    /// # Errors
    /// `ERR_CLIENT_CLOSED`.
    pub fn release_latest(
        &self,
        owner: OwnerId,
        key: Key,
        mode: Mode,
        ticket: RequestId,
    ) -> Reply<Result<Release, Error>> {
        self.change(Some(ticket.thread), |state| {
            if !state.clients.is_open(owner) {
                return Err(Error::client_closed());
            }
            Ok(state.update_table(None, |table, now| table.release_latest(owner, key, mode, ticket, now)))
        })
    }

    /// Why nobody can say whether a key is taken, for which the owner has waited so long: no server has answered since it began.
    /// Nothing where the key is known to be taken, or a server has answered.
    #[must_use]
    pub fn why_unanswered(&self, owner: OwnerId, key: Key, mode: Mode, waited: Duration) -> Option<Error> {
        let state = self.lock();
        if let Some(pooled) = &state.pooled {
            let why = pooled.why_unanswered(key, state.table.is_taken(key, owner, mode));
            return why.map(|why| why.unwrap_or_else(|| self.config.no_answer()));
        }
        let is_known = state.table.is_taken(key, owner, mode) || state.sessions.slots.have_answered_within(waited);
        (!is_known).then(|| self.config.no_answer())
    }

    /// Takes a request back, whether it still waits or is granted already. Nothing more is answered to it.
    pub fn cancel(&self, request: RequestId) -> Reply<()> {
        self.change(Some(request.thread), |state| {
            state.update_table(None, |table, now| table.cancel(request, now));
        })
    }

    /// Asks the server who holds a key or waits for it. Followed by [`Answer::Holders`] or [`Answer::Failed`].
    ///
    /// # Errors
    /// `ERR_CLIENT_CLOSED`.
    pub fn holders(&self, owner: OwnerId, key: Key, ticket: RequestId) -> Reply<Result<(), Error>> {
        self.change(Some(ticket.thread), |state| {
            if !state.clients.is_open(owner) {
                return Err(Error::client_closed());
            }
            match &mut state.pooled {
                Some(pooled) => pooled.ask_for_holders(key, ticket),
                None => state.sessions.ask_for_holders(key, ticket, &state.table),
            }
            Ok(())
        })
    }

    /// Asks the session that holds for a sign of life. Followed by [`Answer::Verified`], or by [`Answer::Failed`] after the
    /// [`Answer::Lost`] of the hold where its session is gone.
    ///
    /// # Errors
    /// `ERR_LOCK_LOST`: there is no such hold.
    pub fn verify(&self, hold: RequestId, ticket: RequestId) -> Reply<Result<(), Error>> {
        self.change(Some(ticket.thread), |state| {
            let home = state.table.home_of(hold);
            let home = home.ok_or_else(not_held)?;
            match &mut state.pooled {
                Some(pooled) => pooled.verify(home, ticket),
                None => state.sessions.push_query(home, Query::Verify { ticket }),
            }
            Ok(())
        })
    }

    /// Takes a key of its own for a hold, beside the key that it holds, and a token. Followed by [`Answer::Fenced`] or
    /// [`Answer::Failed`].
    ///
    /// # Errors
    /// `ERR_FENCING_UNAVAILABLE`: the hold is a transaction through a pooler, in which no token can be had.
    pub fn fence(&self, hold: RequestId, ticket: RequestId) -> Reply<Result<(), Error>> {
        self.change(Some(ticket.thread), |state| {
            if state.pooled.is_some() {
                return Err(Error::no_fence_through_pooler());
            }
            state.fence(hold, ticket);
            Ok(())
        })
    }

    /// All that relied on fences of earlier holds has been waited for.
    pub fn complete_fence(&self, hold: RequestId) -> Reply<()> {
        self.change(Some(hold.thread), |state| state.table.complete_fence(hold))
    }

    /// Ends all sessions, for this reason: their holders are told that their locks are lost.
    pub fn give_up(&self, reason: &Error) {
        let state = self.lock();
        let pooled = state.pooled.iter().flat_map(|pooled| pooled.sessions.slots.wires());
        let wires: Vec<_> = state.sessions.slots.wires().chain(pooled).map(Arc::clone).collect();
        drop(state);
        wires.iter().for_each(|wire| wire.give_up(reason));
    }

    /// Sends what calls have left to be sent, as the caller's turn is over.
    pub fn send(&self, caller: ClientId) -> Reply<()> {
        let mut state = self.lock();
        state.sessions.send(Some(caller), Slot::send_at_end_of_turn);
        state.sessions.forget_unsent();
        Reply { answer: (), mail: false, unsent: false, to_attend: state.sessions.unsent.take_to_attend() }
    }

    /// Changes the state, hands out what follows from it, and wakes whom it concerns except the caller, who may have more to say.
    pub(super) fn change<T>(&self, caller: Option<ClientId>, change: impl FnOnce(&mut State) -> T) -> Reply<T> {
        self.change_for(caller, caller.is_some(), change)
    }

    /// Changes the state, hands out what follows from it, and wakes whom it concerns except the caller.
    pub(super) fn change_for<T>(
        &self,
        caller: Option<ClientId>,
        has_more: bool,
        change: impl FnOnce(&mut State) -> T,
    ) -> Reply<T> {
        let mut state = self.lock();
        state.check_liveness();
        let answer = change(&mut state);
        state.dispatch_operations();
        let unsent = if has_more {
            state.sessions.send(caller, Slot::send_early);
            !state.sessions.unsent.is_empty()
        } else {
            state.sessions.send(caller, Slot::send);
            state.sessions.forget_unsent();
            false
        };
        let to_attend = state.sessions.unsent.take_to_attend();
        let tasks = state.take_tasks();
        let to_wake = state.clients.take_to_wake();
        drop(state);
        if let Some(tasks) = tasks {
            self.start(tasks);
        }
        let mut mail = false;
        for mailbox in to_wake {
            if Some(mailbox.client) == caller {
                mail = true;
            } else {
                mailbox.wake();
            }
        }
        Reply { answer, mail, unsent, to_attend }
    }

    /// Has tasks run on the I/O thread. Where that cannot be had, those who wait for a session are told why.
    fn start(&self, tasks: Tasks) {
        let Some(this) = self.this.upgrade() else { return };
        let sessions: Vec<SessionId> = tasks.sessions.iter().map(|(id, _)| *id).collect();
        if let Err(cause) = (self.start)(&this, tasks) {
            self.change(None, |state| {
                state.deadlocks.is_watched = false;
                if let Some(looks) = &mut state.looks {
                    looks
                        .give_all_back()
                        .into_iter()
                        .for_each(|wait| state.sessions.reports.push_failed_wait(wait, &cause));
                    looks.end();
                }
                match &mut state.pooled {
                    Some(pooled) => pooled.not_started(&sessions, &cause),
                    None => state.sessions.not_started(&sessions, &cause, &state.table),
                }
            });
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
