//! The task that looks through a pooler for waits whose locks are taken by direct sessions.

use super::looks::{Failing, Looks, Next};
use crate::core::{Key, Mode};
use crate::error::Error;
use crate::manager::handle::Manager;
use crate::manager::news::{self, SessionEvent};
use crate::manager::session_life;
use crate::manager::sessions::Sessions;
use crate::manager::state::State;
use crate::pg::{ConnectConfig, Fault, PooledSession, Seen, Session, Timing};
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Looks, as long as somebody waits and a moment longer.
pub(in crate::manager) async fn look_for_waits(manager: Arc<Manager>) {
    let Some(changed) = manager.change_looks(|looks| Arc::clone(&looks.changed)) else { return };
    let mut session = None;
    loop {
        match manager.next_look() {
            Next::Look(keys) => {
                tokio::select! {
                    looked = look(&manager, &mut session, &keys) => manager.looked(&keys, looked),
                    () = abandoned(&manager, &changed) => session = None,
                }
            }
            Next::Pause(limit) => {
                let lost = async {
                    match &session {
                        Some(session) => session.lost().await,
                        None => pending().await,
                    }
                };
                if let Err(cause) = session_life::idle(lost, &changed, limit).await {
                    lose(&mut session, &cause);
                }
            }
            Next::End => {
                if let Some(session) = session.take() {
                    tell(SessionEvent::Closed, Some(&session), None);
                    session.close().await;
                }
                if manager.change_looks(Looks::end) != Some(false) {
                    return;
                }
            }
        }
        manager.change_looks(|looks| looks.is_open = session.is_some());
    }
}

async fn abandoned(manager: &Manager, changed: &Notify) {
    while !manager.is_abandoned() {
        changed.notified().await;
    }
}

fn tell(event: SessionEvent, session: Option<&PooledSession>, error: Option<&Error>) {
    news::tell(event, None, session.map(|session| &**session.wire()), error);
}

fn lose(session: &mut Option<PooledSession>, cause: &Error) {
    tell(SessionEvent::Lost, session.take().as_ref(), Some(cause));
}

async fn look(
    manager: &Manager,
    session: &mut Option<PooledSession>,
    keys: &[(Key, Mode)],
) -> Result<Vec<Seen>, Error> {
    let open = match session {
        Some(open) => open,
        // In a box, as it is needed but once.
        None => session.insert(Box::pin(open(manager)).await?),
    };
    match open.look(keys).await {
        Ok(seen) => Ok(seen),
        Err(Fault::Statement(cause)) => Err(cause),
        Err(Fault::Lost(cause)) => {
            lose(session, &cause);
            Err(cause)
        }
    }
}

async fn open(manager: &Manager) -> Result<PooledSession, Error> {
    let timing = manager.settings.timing;
    let through = manager.settings.looks_through.as_ref().expect("BUG: looks without a pooler");
    let opened = if manager.change_looks(|looks| looks.is_checked) == Some(true) {
        PooledSession::open(through, timing).await
    } else {
        open_checked(manager, through, timing).await
    };
    match &opened {
        Ok(session) => {
            manager.change_looks(|looks| looks.is_checked = true);
            tell(SessionEvent::Opened, Some(session), None);
        }
        Err(cause) => tell(SessionEvent::Failed, None, Some(cause)),
    }
    opened
}

/// Opens a session through the pooler, and makes sure that it sees what a direct session has locked: names, addresses and numbers of
/// databases may be the same of different ones.
async fn open_checked(manager: &Manager, through: &ConnectConfig, timing: Timing) -> Result<PooledSession, Error> {
    let direct = Session::open(&manager.config, timing, manager.suspects_pooler()).await?;
    let opened = async {
        let key = direct.lock_random_key().await.map_err(Fault::into_error)?;
        let session = PooledSession::open(through, timing).await?;
        match session.look(&[(key, Mode::Exclusive)]).await.map_err(Fault::into_error)?[..] {
            [Seen::Taken { .. }] => Ok(session),
            _ => {
                session.close().await;
                Err(Error::other_database())
            }
        }
    };
    let opened = opened.await;
    direct.close().await;
    opened
}

impl Manager {
    fn change_looks<T>(&self, change: impl FnOnce(&mut Looks) -> T) -> Option<T> {
        self.change(None, |state| state.looks.as_mut().map(change)).answer
    }

    fn next_look(&self) -> Next {
        let next = self.change(None, |state| {
            let has_owners = state.clients.has_owners();
            state.looks.as_mut().map(|looks| looks.next(has_owners, Instant::now()))
        });
        next.answer.unwrap_or(Next::End)
    }

    fn looked(&self, keys: &[(Key, Mode)], looked: Result<Vec<Seen>, Error>) {
        self.change(None, |state| match looked {
            Ok(seen) => state.looked(keys, &seen),
            Err(cause) => state.look_failed(keys, &cause),
        });
    }
}

impl State {
    fn looked(&mut self, keys: &[(Key, Mode)], seen: &[Seen]) {
        let State { looks, table, sessions, .. } = self;
        let Some(looks) = looks else { return };
        let is_tied = |key| table.is_awaited_by_holders(key);
        for wait in looks.looked(keys, seen, Instant::now(), is_tied) {
            sessions.waits.begin(wait, &mut sessions.slots);
        }
    }

    fn look_failed(&mut self, keys: &[(Key, Mode)], cause: &Error) {
        let Some(looks) = &mut self.looks else { return };
        if cause.is_other_database() {
            looks.give_all_back().into_iter().for_each(|wait| self.sessions.reports.push_failed_wait(wait, cause));
            return;
        }
        let now = Instant::now();
        if let Failing::Lasting(given_back, rest) = looks.failed(keys, now) {
            let Sessions { waits, slots, .. } = &mut self.sessions;
            waits.stay_until(now + rest);
            given_back.into_iter().for_each(|wait| waits.begin(wait, slots));
        }
    }
}
