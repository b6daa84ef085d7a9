//! The task that owns one session through a pooler: opens it, does the jobs of its slot, keeps its transaction alive while it
//! holds, closes it. And the task that has looks made while somebody waits.

use super::job::Job;
use super::Pooled;
use crate::core::{Key, Mode, SessionId};
use crate::error::Error;
use crate::manager::handle::Manager;
use crate::manager::mailbox::Answer;
use crate::manager::news::{self, SessionEvent};
use crate::manager::session_life;
use crate::manager::slots::SessionSlot;
use crate::pg::{Fault, PooledSession};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::sleep;

/// While somebody waits a session is kept for the looks, whatever is set for idle ones.
const KEPT_FOR_LOOKS: Duration = Duration::from_secs(10);

/// What a session is to do next.
enum Work {
    Do(Job),
    /// Look for these keys.
    Look(Vec<(Key, Mode)>),
    Heartbeat,
    /// Nothing until something changes, or this has passed.
    Idle(Duration),
    /// Close the session.
    Close(Closing),
    /// The session has been found lost by somebody else.
    Gone,
}

/// A session that is closing: those who wait for it to be gone are told when this is dropped, however that comes
/// about.
struct Closing(Arc<Manager>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.change_pooled(|pooled| pooled.sessions.slots.end_closing());
    }
}

/// Runs the session to its end.
pub(in crate::manager) async fn run(manager: Arc<Manager>, id: SessionId, changed: Arc<Notify>) {
    // In a box: what is only for the beginning of a session takes room only then.
    let Some(mut session) = Box::pin(open(&manager, id, &changed)).await else { return };
    let cause = loop {
        let done = match manager.next_pooled_work(id) {
            Work::Do(job) => serve(&manager, id, &mut session, job).await,
            Work::Look(keys) => look(&manager, id, &session, &keys).await,
            Work::Heartbeat => session.heartbeat().await.map_err(Fault::into_error),
            Work::Idle(limit) => session_life::idle(session.lost(), &changed, limit).await,
            Work::Close(closing) => {
                // Before it is over, for whom it is the end of everything.
                tell(SessionEvent::Closed, &session, None);
                session.close().await;
                return drop(closing);
            }
            Work::Gone => match session.wire().end_reason() {
                Some(cause) => break cause,
                None => return,
            },
        };
        if let Err(cause) = done {
            break cause;
        }
    };
    session.trace(|| format!("lost: {} ({})", cause.message(), cause.code()));
    tell(SessionEvent::Lost, &session, Some(&cause));
    manager.change_pooled(|pooled| pooled.lost(id, &cause));
}

/// Tells whoever wants to know what has become of a session. The server's process is another one for each transaction.
fn tell(event: SessionEvent, session: &PooledSession, error: Option<&Error>) {
    news::tell(event, None, Some(session.wire()), error);
}

/// Has looks made from time to time, as long as somebody waits.
pub(in crate::manager) async fn keep_looking(manager: Arc<Manager>) {
    let Some(changed) = manager.change_pooled(|pooled| Arc::clone(&pooled.changed)) else { return };
    while let Some(pause) = manager.change_pooled(Pooled::look_round).flatten() {
        tokio::select! {
            () = changed.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

async fn open(manager: &Arc<Manager>, id: SessionId, changed: &Notify) -> Option<PooledSession> {
    let opening = PooledSession::open(&manager.config, manager.settings.timing);
    match session_life::open(manager, changed, opening).await {
        Ok(session) => {
            tell(SessionEvent::Opened, &session, None);
            manager.change_pooled(|pooled| pooled.opened(id, session.wire()));
            Some(session)
        }
        Err(cause) => {
            manager.change_pooled(|pooled| pooled.open_failed(id, &cause));
            None
        }
    }
}

async fn serve(manager: &Manager, id: SessionId, session: &mut PooledSession, job: Job) -> Result<(), Error> {
    let result = match job {
        Job::Pin { key, mode, turn, .. } => session.pin(key, mode, turn).await,
        Job::Upgrade { key, mode } => session.take_also(key, mode).await,
        Job::Unpin { .. } => session.unpin().await,
        Job::Probe { key } => session.is_contended(key).await,
        Job::Holders { key, ticket } => session.holders(key).await.map(|holders| {
            manager.answer(ticket, Answer::Holders(holders));
            true
        }),
        Job::Verify { ticket } => session.verify().await.map(|time| {
            manager.answer(ticket, Answer::Verified(time));
            true
        }),
        Job::Look => unreachable!("BUG: a look without keys"),
    };
    report(manager, id, result)
}

async fn look(manager: &Manager, id: SessionId, session: &PooledSession, keys: &[(Key, Mode)]) -> Result<(), Error> {
    let looked = if keys.is_empty() { Ok(Vec::new()) } else { session.look(keys).await };
    match looked {
        Ok(seen) => {
            manager.change_pooled(|pooled| pooled.looked(id, keys, &seen));
            Ok(())
        }
        Err(fault) => report(manager, id, Err(fault)),
    }
}

fn report(manager: &Manager, id: SessionId, result: Result<bool, Fault>) -> Result<(), Error> {
    let result = Fault::unless_lost(result)?;
    manager.change_pooled(|pooled| pooled.done(id, result));
    Ok(())
}

impl Manager {
    /// Changes what there is of sessions through a pooler.
    fn change_pooled<T>(&self, change: impl FnOnce(&mut Pooled) -> T) -> Option<T> {
        self.change(None, |state| state.pooled.as_mut().map(change)).answer
    }

    fn next_pooled_work(self: &Arc<Self>, id: SessionId) -> Work {
        let next = self.change(None, |state| {
            let has_owners = state.clients.has_owners();
            let pooled = state.pooled.as_mut()?;
            let is_kept = !pooled.waits.is_empty();
            let slot = pooled.sessions.slots.get_mut(id)?;
            match slot.begin_job() {
                Some(Job::Look) => return Some(Work::Look(pooled.waits.take_due(Instant::now()))),
                Some(job) => return Some(Work::Do(job)),
                None => {}
            }
            if slot.is_pinned {
                let due = self.settings.timing.heartbeat().saturating_sub(slot.age_of_proof());
                return Some(if due.is_zero() { Work::Heartbeat } else { Work::Idle(due) });
            }
            let limit = match self.settings.idle_timeout {
                _ if !has_owners => Duration::ZERO,
                limit if is_kept => limit.max(KEPT_FOR_LOOKS),
                limit => limit,
            };
            let idle = slot.idle_since.elapsed();
            if idle < limit {
                return Some(Work::Idle(limit.saturating_sub(idle)));
            }
            pooled.sessions.close(id);
            Some(Work::Close(Closing(Arc::clone(self))))
        });
        next.answer.unwrap_or(Work::Gone)
    }
}
