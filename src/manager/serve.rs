//! The task that owns one session: opens it, does the work of its slot, keeps it alive while it holds, closes it.

use super::rings;
use super::slot::{Failed, Job, Wait};
use super::state::State;
use super::{Answer, Manager};
use crate::core::SessionId;
use crate::error::Error;
use crate::pg::{Fault, Session, ANSWER_LIMIT};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// How long a wait stays in the server's queue at a stretch. A wait holds a snapshot, which `VACUUM` and
/// `CREATE INDEX CONCURRENTLY` must wait for, so it may not last; a little over `deadlock_timeout` (1 s by default), so
/// that PostgreSQL's own check runs within it.
const TURN: Duration = Duration::from_millis(1200);
/// How long a session for everybody may block for one.
const BRIEF_TURN: Duration = Duration::from_millis(3);

/// How soon a session that is being used is looked after again: batches that have queued up behind a JavaScript thread which
/// has no time to send them, answers that are late.
pub(super) const WATCH: Duration = Duration::from_millis(10);

/// What a session is to do next.
pub(super) enum Work {
    /// Ask the server.
    Ask(Job),
    /// Find out what failed batches have done.
    Salvage(Vec<Failed>),
    Wait(Wait),
    Heartbeat,
    /// Nothing until something changes, or this has passed.
    Rest(Duration),
    /// The server has not answered a batch in time.
    Overdue,
    /// The session cannot be trusted any more.
    GiveUp(Failed),
    /// Close: the slot is gone already.
    Leave,
}

/// Runs the session to its end, and reports it lost if a bug ends it early: then its holders are told at least.
pub(super) async fn guard(manager: Arc<Manager>, id: SessionId, changed: Arc<Notify>) {
    let served = tokio::spawn(serve(Arc::clone(&manager), id, changed)).await;
    if let Err(panic) = served {
        manager.lost(id, Vec::new(), &Error::new("ERR_INTERNAL", format!("BUG: the session's task failed: {panic}")));
    }
}

/// Runs the session to its end.
async fn serve(manager: Arc<Manager>, id: SessionId, changed: Arc<Notify>) {
    let Some(session) = open(&manager, id, &changed).await else { return };
    let (unfinished, cause) = loop {
        let (unfinished, done) = match manager.next_work(id) {
            Work::Ask(job) => (vec![job], ask(&manager, id, &session, job).await),
            Work::Salvage(failed) => salvage(&manager, id, &session, failed).await,
            Work::Wait(wait) => (Vec::new(), wait_in_queue(&manager, id, &session, wait, &changed).await),
            Work::Heartbeat => (Vec::new(), heartbeat(&manager, id, &session).await),
            Work::Rest(limit) => (Vec::new(), rest(&session, &changed, limit).await),
            Work::Overdue if session.lane().has_unread() => (Vec::new(), rest(&session, &changed, WATCH).await),
            Work::Overdue => (Vec::new(), Err(session.silent(ANSWER_LIMIT))),
            Work::GiveUp(Failed { jobs, cause }) => (jobs, Err(cause)),
            Work::Leave => {
                session.close().await;
                return manager.left();
            }
        };
        if let Err(cause) = done {
            break (unfinished, cause);
        }
    };
    session.trace(|| format!("lost: {} ({})", cause.message(), cause.code()));
    manager.lost(id, unfinished, &cause);
    if cause.is_transaction_pooling() {
        session.give_back().await;
    }
}

async fn open(manager: &Arc<Manager>, id: SessionId, changed: &Notify) -> Option<Session> {
    let opening = Session::open(&manager.config, manager.role(id)?, manager.settings.heartbeat);
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
            session.lane().on_answer(move |answered| {
                if let Some(manager) = this.upgrade() {
                    manager.answered(id, answered, None);
                }
            });
            manager.opened(id, session.lane());
            Some(session)
        }
        Err(cause) => {
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
        Job::Probe { key } => session.is_contended(key).await,
        Job::Inquire => inquire(manager, id, session).await,
        Job::BriefWait { key, mode } => session.wait_turn(key, mode, BRIEF_TURN).await,
        Job::Step(_) | Job::Retry { .. } | Job::SilentRelease { .. } => unreachable!("BUG: a step is no question"),
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
    let inquiry = manager.next_inquiry();
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
    let turn = session.wait_turn(wait.key, wait.mode, TURN);
    tokio::pin!(turn);
    let outcome = loop {
        tokio::select! {
            outcome = &mut turn => break outcome,
            () = changed.notified() => {
                if manager.must_interrupt(id) {
                    break tokio::join!(&mut turn, session.cancel()).0;
                }
            }
        }
    };
    match outcome {
        Ok(acquired) => manager.turn_over(id, acquired),
        Err(Fault::Statement(cause)) => manager.wait_failed(id, &cause),
        Err(Fault::Lost(cause)) => return Err(cause),
    }
    Ok(())
}

async fn rest(session: &Session, changed: &Notify, limit: Duration) -> Result<(), Error> {
    tokio::select! {
        () = changed.notified() => Ok(()),
        cause = session.lost() => Err(cause),
        () = sleep(limit) => Ok(()),
    }
}

async fn heartbeat(manager: &Manager, id: SessionId, session: &Session) -> Result<(), Error> {
    match session.heartbeat().await {
        Ok(()) => {
            manager.heard(id);
            Ok(())
        }
        Err(Fault::Statement(cause) | Fault::Lost(cause)) => Err(cause),
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
