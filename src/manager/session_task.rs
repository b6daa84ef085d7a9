//! The task that owns one session: opens it, does the work of its slot, keeps it alive while it holds, closes it.

use super::news::{self, SessionEvent};
use super::rings;
use super::slot::{Failed, Job, Wait};
use super::state::State;
use super::{Answer, Manager};
use crate::core::SessionId;
use crate::error::Error;
use crate::pg::{Fault, HeldNames, Session, Turn};
use std::future::{pending, Future};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// How long a session for everybody may block for one.
const BRIEF_TURN: Duration = Duration::from_millis(3);

/// How soon a session that is being used is looked after again: batches that have queued up behind a JavaScript thread which
/// has no time to send them, answers that are late.
pub(super) const WATCH: Duration = Duration::from_millis(10);

/// What a session is to do next.
pub(super) enum Work {
    /// Ask the server.
    Query(Job),
    /// Find out what failed batches have done.
    Salvage(Vec<Failed>),
    Wait(Wait),
    /// Ask for a sign of life, and say what is held.
    Heartbeat(Option<HeldNames>),
    /// Nothing until something changes, or this has passed.
    Idle(Duration),
    /// The session cannot be trusted any more.
    Lose(Failed),
    /// Close: the slot is gone already.
    Close,
    /// The session has been found lost by somebody else.
    Gone,
}

/// Runs the session to its end, and reports it lost if a bug ends it early: then its holders are told at least.
pub(super) async fn guard(manager: Arc<Manager>, id: SessionId, run: impl Future<Output = ()> + Send + 'static) {
    if let Err(panic) = tokio::spawn(run).await {
        manager.lost(id, Vec::new(), &Error::new("ERR_INTERNAL", format!("BUG: the session's task failed: {panic}")));
    }
}

/// Runs the session to its end.
pub(super) async fn run(manager: Arc<Manager>, id: SessionId, changed: Arc<Notify>) {
    let Some(session) = open(&manager, id, &changed).await else { return };
    let (unfinished, cause) = loop {
        let (unfinished, done) = match manager.next_work(id) {
            Work::Query(job) => (vec![job], ask(&manager, id, &session, job).await),
            Work::Salvage(failed) => salvage(&manager, id, &session, failed).await,
            Work::Wait(wait) => (Vec::new(), wait_in_queue(&manager, id, &session, wait, &changed).await),
            Work::Heartbeat(held) => (Vec::new(), heartbeat(&session, held).await),
            Work::Idle(limit) => (Vec::new(), idle(&session, &changed, limit).await),
            Work::Lose(Failed { jobs, cause }) => (jobs, Err(cause)),
            Work::Close => {
                // Before it is over, for whom it is the end of everything.
                news::tell(SessionEvent::Closed, Some(&session), None);
                session.close().await;
                return manager.left();
            }
            Work::Gone => return,
        };
        if let Err(cause) = done {
            break (unfinished, cause);
        }
    };
    session.trace(|| format!("lost: {} ({})", cause.message(), cause.code()));
    news::tell(SessionEvent::Lost, Some(&session), Some(&cause));
    manager.lost(id, unfinished, &cause);
    if cause.is_transaction_pooling() {
        session.give_back().await;
    }
}

async fn open(manager: &Arc<Manager>, id: SessionId, changed: &Notify) -> Option<Session> {
    let opening = Session::open(&manager.config, manager.settings.timing);
    tokio::pin!(opening);
    let opened = loop {
        tokio::select! {
            opened = &mut opening => break opened,
            () = changed.notified() => {
                if manager.is_abandoned() {
                    break Err(Error::client_closed());
                }
            }
        }
    };
    match opened {
        Ok(session) => {
            let this = Arc::downgrade(manager);
            session.wire().on_answer(move |answered| {
                if let Some(manager) = this.upgrade() {
                    manager.answered(id, answered);
                }
            });
            news::tell(SessionEvent::Opened, Some(&session), None);
            manager.opened(id, session.wire());
            Some(session)
        }
        Err(cause) => {
            if !manager.is_abandoned() {
                news::tell(SessionEvent::Failed, None, Some(&cause));
            }
            manager.open_failed(id, &cause);
            None
        }
    }
}

async fn ask(manager: &Manager, id: SessionId, session: &Session, job: Job) -> Result<(), Error> {
    let result = match job {
        Job::Holders { key, ticket } => session.holders(key).await.map(|holders| {
            manager.answer(ticket, Answer::Holders(holders));
            true
        }),
        Job::Verify { ticket } => session.verify().await.map(|time| {
            manager.answer(ticket, Answer::Verified(time));
            true
        }),
        Job::Fence { hold, ticket } => session.fence().await.map(|fenced| {
            manager.fenced(id, hold, ticket, fenced);
            true
        }),
        Job::Probe { key } => session.is_contended(key).await,
        Job::Inquire => inquire(manager, id, session).await,
        Job::BriefWait { key, mode } => {
            session.wait_turn(key, mode, BRIEF_TURN, pending()).await.map(|turn| turn == Turn::Granted)
        }
        Job::Step(_) | Job::Retry { .. } | Job::SilentRelease { .. } | Job::EndFence { .. } => {
            unreachable!("BUG: a step is no question")
        }
    };
    let result = match result {
        Ok(answer) => Ok(answer),
        Err(Fault::Statement(error)) => Err(error),
        Err(Fault::Lost(cause)) => return Err(cause),
    };
    manager.jobs_done(id, [(job, result)]);
    Ok(())
}

/// Finds out what failed batches have done; what is unfinished where that fails.
async fn salvage(
    manager: &Manager,
    id: SessionId,
    session: &Session,
    failed: Vec<Failed>,
) -> (Vec<Job>, Result<(), Error>) {
    let steps_of = |batch: &Failed| batch.jobs.iter().filter_map(|job| job.step()).collect();
    match session.salvage(&failed.iter().map(steps_of).collect::<Vec<_>>()).await {
        Ok(salvaged) => {
            manager.salvaged(id, failed, salvaged);
            (Vec::new(), Ok(()))
        }
        Err(Fault::Statement(error) | Fault::Lost(error)) => {
            (failed.into_iter().flat_map(|batch| batch.jobs).collect(), Err(error))
        }
    }
}

async fn inquire(manager: &Manager, id: SessionId, session: &Session) -> Result<bool, Fault> {
    let inquiry = manager.next_inquiry(id);
    let findings = session.inquire(&inquiry).await?;
    manager.change(None, |state| state.inquired(id, findings));
    Ok(true)
}

/// One turn of waiting, cut short when the wait is cancelled or the session is needed for what it holds.
async fn wait_in_queue(
    manager: &Manager,
    id: SessionId,
    session: &Session,
    wait: Wait,
    changed: &Notify,
) -> Result<(), Error> {
    let interrupted = async {
        loop {
            changed.notified().await;
            if manager.must_interrupt(id) {
                return;
            }
        }
    };
    if wait.lacks_place {
        match session.finds_place(wait.key).await {
            Ok(true) => {}
            Ok(false) => {
                manager.turn_over(id, Turn::NoPlace);
                return Ok(());
            }
            Err(Fault::Statement(cause) | Fault::Lost(cause)) => return Err(cause),
        }
    }
    let outcome = session.wait_turn(wait.key, wait.mode, manager.turn_limit(), interrupted).await;
    match outcome {
        Ok(turn) => manager.turn_over(id, turn),
        Err(Fault::Statement(cause)) => manager.wait_failed(id, &cause),
        Err(Fault::Lost(cause)) => return Err(cause),
    }
    Ok(())
}

async fn idle(session: &Session, changed: &Notify, limit: Duration) -> Result<(), Error> {
    tokio::select! {
        () = changed.notified() => Ok(()),
        cause = session.lost() => Err(cause),
        () = sleep(limit) => Ok(()),
    }
}

async fn heartbeat(session: &Session, held: Option<HeldNames>) -> Result<(), Error> {
    match session.heartbeat(held).await {
        // That somebody has cancelled it is said by the server.
        Ok(()) | Err(Fault::Statement(_)) => Ok(()),
        Err(Fault::Lost(cause)) => Err(cause),
    }
}

/// Looks for deadlocks from time to time, as long as somebody waits.
pub(super) async fn keep_watching(manager: Arc<Manager>) {
    loop {
        sleep(rings::PERIOD).await;
        if !manager.change(None, State::watch_round).answer {
            return;
        }
    }
}

/// Tries again for the waits without a session of their own, until there are none.
pub(super) async fn keep_retrying(manager: Arc<Manager>) {
    while let Some(pause) = manager.retry_round() {
        sleep(pause).await;
    }
}
