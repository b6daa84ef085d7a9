//! Joins the lock table to the sessions: one manager per process and connection config.
//!
//! Calls come in on the callers' threads, take the state's lock for a moment and leave; answers that need the server come
//! later through the caller's [`Mailbox`]. It knows nothing of Node.
//!
//! Where a transaction pooler is worked through, the sessions in `pooled` do what those of `state` and `route` do elsewhere.

mod attendance;
mod doubts;
mod fences;
mod mailbox;
mod news;
mod overview;
mod pooled;
mod publication;
mod registry;
mod retries;
mod rings;
mod route;
mod session_events;
mod session_task;
mod slot;
mod state;
mod stats;

pub use mailbox::{Answer, ClientId, Mailbox};
pub use news::{listen, stop_listening, SessionEvent, SessionNews};
pub use overview::Overview;
pub use publication::remember_name;
pub use registry::{close_client, manager_for};

use crate::core::lock_table::{Admission, Release, Request};
use crate::core::{Key, Mode, OwnerId, RequestId, SessionId};
use crate::error::Error;
use crate::pg::{ConnectConfig, Timing, Wire};
use crate::runtime;
use slot::Slot;
use state::State;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// How the sessions of one manager behave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Most sessions that wait in the server's queue; further waits are retried in batches.
    pub max_wait_connections: usize,
    /// The most sessions that hold a lock through a pooler which lends them for one transaction at a time; `None`: there is none, or
    /// it is not to be worked through.
    pub max_pinned_connections: Option<usize>,
    /// After how long a session without locks and waits is closed.
    pub idle_timeout: Duration,
    /// For how long silence is borne.
    pub timing: Timing,
    /// Whether sessions say in the database what they hold.
    pub publish_names: bool,
}

/// The locks of this process at one server.
pub struct Manager {
    this: Weak<Manager>,
    config: ConnectConfig,
    settings: Settings,
    state: Mutex<State>,
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
    fn new(config: ConnectConfig, settings: Settings) -> Arc<Manager> {
        Arc::new_cyclic(|this| Manager {
            this: Weak::clone(this),
            state: Mutex::new(State::new(settings.clone())),
            config,
            settings,
        })
    }

    /// A new group of owners, whose requests come from the mailbox's client. While one is open, idle sessions stay open for
    /// [`Settings::idle_timeout`].
    pub fn open_owner(&self, mailbox: &Arc<Mailbox>) -> OwnerId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let owner = OwnerId::new(NEXT.fetch_add(1, Ordering::Relaxed));
        self.change(None, |state| state.open_owner(owner, mailbox));
        owner
    }

    /// Ends a group of owners: gives up their holds, ends their waits, and the sessions too where it was the last. Answers
    /// [`Answer::Closed`] to the ticket.
    pub fn close_owner(&self, owner: OwnerId, ticket: RequestId) -> Reply<()> {
        self.change(Some(ClientId::of(ticket)), |state| state.close_owner(owner, ticket))
    }

    /// Ends a group of owners that nobody can use any more, if it is still open.
    pub fn abandon_owner(&self, owner: OwnerId, client: ClientId) {
        self.change(None, |state| {
            if state.owner_is_open(owner) {
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
        self.change(Some(ClientId::of(request.id)), |state| {
            if !state.owner_is_open(request.owner) {
                return Err(Error::client_closed());
            }
            let patient = request.patient;
            match state.update_table(None, |table, now| table.acquire(&request, now)) {
                Admission::Deadlock => Err(Error::deadlock()),
                Admission::Pending if patient => {
                    state.watch_for_deadlocks();
                    Ok(Admission::Pending)
                }
                admission => Ok(admission),
            }
        })
    }

    /// Finds out which sessions are still there whose last sign of life does not promise it any more. Every call does.
    pub fn look(&self, client: ClientId) -> Reply<()> {
        self.change(Some(client), |_| ())
    }

    /// Gives up a hold. [`Release::Pending`] is followed by [`Answer::Released`] or [`Answer::ReleaseFailed`].
    pub fn release(&self, hold: RequestId, ticket: RequestId) -> Reply<Release> {
        self.change(Some(ClientId::of(ticket)), |state| {
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
        self.change(Some(ClientId::of(ticket)), |state| {
            if !state.owner_is_open(owner) {
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
            let why = pooled.why_unanswered(key, state.table.is_taken(key, owner, mode), waited);
            return why.map(|why| why.unwrap_or_else(|| self.config.no_answer()));
        }
        let has_answered = |slot: &Slot| slot.wire.as_ref().is_some_and(|wire| wire.has_answered_within(waited));
        let is_known = state.table.is_taken(key, owner, mode) || state.slots.values().any(has_answered);
        (!is_known).then(|| self.config.no_answer())
    }

    /// Takes a request back, whether it still waits or is granted already. Nothing more is answered to it.
    pub fn cancel(&self, request: RequestId) -> Reply<()> {
        self.change(Some(ClientId::of(request)), |state| {
            state.update_table(None, |table, now| table.cancel(request, now));
        })
    }

    /// Asks the server who holds a key or waits for it. Followed by [`Answer::Holders`] or [`Answer::Failed`].
    ///
    /// # Errors
    /// `ERR_CLIENT_CLOSED`.
    pub fn holders(&self, owner: OwnerId, key: Key, ticket: RequestId) -> Reply<Result<(), Error>> {
        self.change(Some(ClientId::of(ticket)), |state| {
            if !state.owner_is_open(owner) {
                return Err(Error::client_closed());
            }
            state.ask_for_holders(key, ticket);
            Ok(())
        })
    }

    /// Asks the session that holds for a sign of life. Followed by [`Answer::Verified`], or by [`Answer::Failed`] after the
    /// [`Answer::Lost`] of the hold where its session is gone.
    ///
    /// # Errors
    /// `ERR_LOCK_LOST`: there is no such hold.
    pub fn verify(&self, hold: RequestId, ticket: RequestId) -> Reply<Result<(), Error>> {
        self.change(Some(ClientId::of(ticket)), |state| {
            if state.verify(hold, ticket) {
                Ok(())
            } else {
                Err(Error::new("ERR_LOCK_LOST", "the lock is not held any more"))
            }
        })
    }

    /// Ends all sessions, for this reason: their holders are told that their locks are lost.
    pub fn give_up(&self, reason: &Error) {
        let state = self.lock();
        let pooled = state.pooled.iter().flat_map(pooled::Pooled::wires);
        let wires: Vec<_> = state.slots.values().filter_map(|slot| slot.wire.clone()).chain(pooled).collect();
        drop(state);
        wires.iter().for_each(|wire| wire.give_up(reason));
    }

    fn answer(&self, request: RequestId, answer: Answer) {
        self.change(None, |state| state.post(request, answer));
    }

    /// Sends what calls have left to be sent, as the caller's turn is over.
    pub fn send(&self, caller: ClientId) -> Reply<()> {
        let mut state = self.lock();
        state.send(Some(caller), Slot::send_at_end_of_turn);
        // What may not go yet goes with the next answer.
        state.unsent.clear();
        Reply { answer: (), mail: false, unsent: false, to_attend: state.to_attend.take() }
    }

    /// Changes the state, hands out what follows from it, and wakes whom it concerns except the caller, who may have more to say.
    fn change<T>(&self, caller: Option<ClientId>, change: impl FnOnce(&mut State) -> T) -> Reply<T> {
        self.change_for(caller, caller.is_some(), change)
    }

    /// Changes the state, hands out what follows from it, and wakes whom it concerns except the caller.
    fn change_for<T>(
        &self,
        caller: Option<ClientId>,
        has_more: bool,
        change: impl FnOnce(&mut State) -> T,
    ) -> Reply<T> {
        let mut state = self.lock();
        state.settle_doubts();
        let answer = change(&mut state);
        state.dispatch_operations();
        let unsent = if has_more {
            state.send(caller, Slot::send_early);
            !state.unsent.is_empty()
        } else {
            state.send(caller, Slot::send);
            state.unsent.clear();
            false
        };
        let to_attend = state.to_attend.take();
        if state.to_wake.is_empty() && state.to_open.is_empty() && !state.start_retrying && !state.start_watching {
            return Reply { answer, mail: false, unsent, to_attend };
        }
        let to_wake = std::mem::take(&mut state.to_wake);
        let to_open: Vec<_> = std::mem::take(&mut state.to_open)
            .into_iter()
            .filter_map(|id| {
                let changed = match &state.pooled {
                    Some(pooled) => pooled.changed(id),
                    None => state.slots.get(&id).map(|slot| &slot.changed),
                };
                Some((id, Arc::clone(changed?)))
            })
            .collect();
        let start_retrying = std::mem::take(&mut state.start_retrying);
        let start_watching = std::mem::take(&mut state.start_watching);
        drop(state);
        if let Some(this) = self.this.upgrade() {
            self.start(&this, to_open, start_retrying, start_watching);
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

    /// Starts what runs on the I/O thread. Where that cannot be had, those who wait for a session are told why.
    fn start(
        &self,
        this: &Arc<Manager>,
        to_open: Vec<(SessionId, Arc<Notify>)>,
        start_retrying: bool,
        start_watching: bool,
    ) {
        let io_thread = match runtime::handle() {
            Ok(io_thread) => io_thread,
            Err(cause) => {
                let mut state = self.lock();
                (state.retries.ticking, state.rings.watching) = (false, false);
                drop(state);
                if self.settings.max_pinned_connections.is_some() {
                    return pooled::task::not_started(self, &to_open, &cause);
                }
                to_open.iter().for_each(|(id, _)| self.open_failed(*id, &cause));
                return;
            }
        };
        for (id, changed) in to_open {
            let this = Arc::clone(this);
            if self.settings.max_pinned_connections.is_some() {
                io_thread.spawn(session_task::guard(Arc::clone(&this), id, pooled::task::run(this, id, changed)));
            } else {
                io_thread.spawn(session_task::guard(Arc::clone(&this), id, session_task::run(this, id, changed)));
            }
        }
        if start_retrying && self.settings.max_pinned_connections.is_some() {
            io_thread.spawn(pooled::task::keep_looking(Arc::clone(this)));
        } else if start_retrying {
            io_thread.spawn(session_task::keep_retrying(Arc::clone(this)));
        }
        if start_watching {
            io_thread.spawn(session_task::keep_watching(Arc::clone(this)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
