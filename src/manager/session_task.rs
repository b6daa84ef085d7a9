//! The task that owns one session: opens it, does the work of its slot, keeps it alive while it holds, closes it. And the tasks
//! that poll waits and look for deadlocks, while there is need.

use super::deadlocks::Deadlocks;
use super::handle::Manager;
use super::job::Query;
use super::mailbox::Answer;
use super::news::{self, SessionEvent};
use super::polls;
use super::pooled;
use super::session_events::Work;
use super::session_life;
use super::state::{State, Tasks};
use super::wait::Wait;
use crate::core::SessionId;
use crate::error::Error;
use crate::pg::{Claim, Fault, HeldNames, Session, Turn};
use crate::runtime;
use std::future::{pending, Future};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

/// How long a session that others need may block for one of them, who would be granted the lock at once.
const BRIEF_TURN: Duration = Duration::from_millis(3);
/// A wait of this age may last for long: no thread attends its session any more.
const ATTENDED_FOR: Duration = Duration::from_millis(250);
/// Where the server has not noticed yet that another session has ended.
const PAUSE_FOR_ROOM: Duration = Duration::from_millis(20);
const TIME_FOR_ROOM: Duration = Duration::from_secs(1);
/// After a bug has ended a task that is needed.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(1);

/// Has the I/O thread run tasks.
///
/// # Errors
/// The system's code: there is no thread to be had.
pub(super) fn start(manager: &Arc<Manager>, tasks: Tasks) -> Result<(), Error> {
    let io_thread = runtime::handle()?;
    let is_pooled = manager.settings.max_pinned_connections.is_some();
    for (id, changed) in tasks.sessions {
        let this = Arc::clone(manager);
        if is_pooled {
            io_thread.spawn(guard(Arc::clone(manager), id, pooled::task::run(this, id, changed)));
        } else {
            io_thread.spawn(guard(Arc::clone(manager), id, run(this, id, changed)));
        }
    }
    if tasks.polls && is_pooled {
        io_thread.spawn(pooled::task::keep_looking(Arc::clone(manager)));
    } else if tasks.polls {
        io_thread.spawn(keep_on(Arc::clone(manager), poll));
    }
    if tasks.looks {
        io_thread.spawn(keep_on(Arc::clone(manager), pooled::look_task::look_for_waits));
    }
    if tasks.watch {
        io_thread.spawn(keep_on(Arc::clone(manager), watch));
    }
    Ok(())
}

/// Runs the session to its end, and reports it lost if a bug ends it early: then its holders are told at least.
async fn guard(manager: Arc<Manager>, id: SessionId, run: impl Future<Output = ()> + Send + 'static) {
    if let Err(panic) = tokio::spawn(run).await {
        manager.lost(id, &Error::new("ERR_INTERNAL", format!("BUG: the session's task failed: {panic}")));
    }
}

/// Runs a task to its end, and once more if a bug ends it early.
async fn keep_on<T: Future<Output = ()> + Send + 'static>(manager: Arc<Manager>, task: fn(Arc<Manager>) -> T) {
    while tokio::spawn(task(Arc::clone(&manager))).await.is_err() {
        sleep(PAUSE_AFTER_PANIC).await;
    }
}

/// Runs the session to its end.
async fn run(manager: Arc<Manager>, id: SessionId, changed: Arc<Notify>) {
    // In boxes: what is only for the beginning and the end of a session takes room only then.
    let Some(session) = Box::pin(open(&manager, id, &changed)).await else { return };
    let cause = loop {
        let done = match manager.next_work(id) {
            Work::Query(query) => ask(&manager, id, &session, query).await,
            Work::Salvage(batches) => {
                let salvaged = session.salvage(&batches).await.map_err(Fault::into_error);
                salvaged.map(|salvaged| manager.salvaged(id, salvaged))
            }
            Work::Wait(wait) => wait_in_queue(&manager, id, &session, wait, &changed).await,
            Work::Heartbeat(held) => heartbeat(&session, held).await,
            Work::Idle(limit) => session_life::idle(session.lost(), &changed, limit).await,
            Work::Lose(cause) => Err(cause),
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
    manager.lost(id, &cause);
    // Where backends are shared its locks are left in one of them, for nobody, however the connection has ended.
    if cause.is_transaction_pooling() || manager.suspects_pooler() {
        Box::pin(session.give_back_shared()).await;
    }
}

async fn open(manager: &Arc<Manager>, id: SessionId, changed: &Notify) -> Option<Session> {
    let is_probed = manager.suspects_pooler();
    let opening = async {
        let begin = Instant::now();
        loop {
            match Session::open(&manager.config, manager.settings.timing, is_probed).await {
                Err(cause)
                    if cause.is_lack_of_sessions() && begin.elapsed() < TIME_FOR_ROOM && manager.is_room_to_come() =>
                {
                    sleep(PAUSE_FOR_ROOM).await
                }
                opened => return opened,
            }
        }
    };
    match session_life::open(manager, changed, opening).await {
        Ok(session) => {
            let this = Arc::downgrade(manager);
            session.wire().on_answer(move |answered| {
                if let Some(manager) = this.upgrade() {
                    manager.answered(id, answered);
                }
            });
            tell(SessionEvent::Opened, &session, None);
            manager.opened(id, session.wire(), is_probed);
            Some(session)
        }
        Err(cause) => {
            manager.open_failed(id, &cause);
            None
        }
    }
}

/// Tells whoever wants to know what has become of a session.
fn tell(event: SessionEvent, session: &Session, error: Option<&Error>) {
    news::tell(event, Some(session.pid()), Some(session.wire()), error);
}

async fn ask(manager: &Manager, id: SessionId, session: &Session, query: Query) -> Result<(), Error> {
    let result = match query {
        Query::Holders { key, ticket } => session.holders(key).await.map(|holders| {
            manager.answer(ticket, Answer::Holders(holders));
            true
        }),
        Query::Verify { ticket } => session.verify().await.map(|time| {
            manager.answer(ticket, Answer::Verified(time));
            true
        }),
        Query::Fence { hold, ticket } => session.fence().await.map(|fenced| {
            manager.fenced(id, hold, ticket, fenced);
            true
        }),
        Query::Probe { key } => session.is_contended(key).await,
        Query::Upgrade { key, mode } => match session.may_upgrade(key).await {
            Ok(false) => Ok(false),
            // Before whoever waits for it: a try would fail behind them.
            Ok(true) => session
                .wait_turn(key, mode, Claim::Upgrade, BRIEF_TURN, pending())
                .await
                .map(|turn| turn == Turn::Granted),
            Err(fault) => Err(fault),
        },
        Query::Inquire => session.inquire(&manager.next_inquiry(id)).await.map(|findings| {
            manager.inquired(id, findings);
            true
        }),
    };
    manager.query_done(id, Fault::unless_lost(result)?);
    Ok(())
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
    let age = wait.age(Instant::now());
    if age >= ATTENDED_FOR {
        session.wire().end_all_attendance();
    }
    if wait.lacks_place {
        let has_place = session.finds_place(wait.key, age).await.map_err(Fault::into_error)?;
        if !has_place {
            manager.turn_over(id, Turn::NoPlace);
            return Ok(());
        }
    }
    let (limit, claim) = manager.turn_of(id, wait.key, age);
    let turn = session.wait_turn(wait.key, wait.mode, claim, limit, interrupted).await;
    match Fault::unless_lost(turn)? {
        Ok(turn) => manager.turn_over(id, turn),
        Err(cause) => manager.turn_failed(id, &cause),
    }
    Ok(())
}

async fn heartbeat(session: &Session, held: Option<HeldNames>) -> Result<(), Error> {
    // That somebody has cancelled it is said by the server.
    Fault::unless_lost(session.heartbeat(held).await).map(drop)
}

/// Tries again for the waits without a session of their own, until there are none.
async fn poll(manager: Arc<Manager>) {
    let mut pause = Some(polls::SHORTEST);
    while let Some(time) = pause {
        sleep(time).await;
        pause = manager.poll_round();
    }
}

/// Looks after those who wait from time to time, as long as there are any, above all for deadlocks.
async fn watch(manager: Arc<Manager>) {
    loop {
        sleep(Deadlocks::PERIOD).await;
        while manager.change(None, State::search_deadlocks).answer {
            yield_now().await;
        }
        if !manager.change(None, State::look_after_waits).answer {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::lock_table::{Admission, Request};
    use crate::core::{Key, Mode, OwnerId, RequestId, ThreadId};
    use crate::manager::mailbox::Mailbox;
    use crate::manager::settings::Settings;
    use crate::pg::{ConnectConfig, Timing};
    use std::sync::mpsc::{channel, Receiver};

    const KEY: Key = Key::Pair(1, 2);
    const LIMIT: Duration = Duration::from_secs(10);

    /// A manager whose sessions are what `start` makes of them, its one owner, and what wakes that.
    struct Scene {
        manager: Arc<Manager>,
        owner: OwnerId,
        mailbox: Arc<Mailbox>,
        news: Receiver<()>,
    }

    fn scene(start: fn(&Arc<Manager>, Tasks) -> Result<(), Error>) -> Scene {
        let second = Duration::from_secs(1);
        let timing = Timing::new(second, second);
        let settings = Settings {
            max_wait_connections: 1,
            max_pinned_connections: None,
            looks_through: None,
            idle_timeout: second,
            timing,
            publish_names: false,
        };
        let config = ConnectConfig::parse("postgres://localhost/none", |_| None).expect("a connection string");
        let manager = Manager::new(config, settings, start);
        let (wake, news) = channel();
        let mailbox = Arc::new(Mailbox::new(ThreadId::next(), move || {
            let _ = wake.send(());
        }));
        let owner = manager.open_owner(&mailbox);
        Scene { manager, owner, mailbox, news }
    }

    impl Scene {
        fn request(&self, number: u64) -> RequestId {
            RequestId::new(self.mailbox.client, number)
        }

        fn next(&self) -> Vec<(RequestId, Answer)> {
            self.news.recv_timeout(LIMIT).expect("an answer");
            self.mailbox.take()
        }

        /// Closes the owner, which must not wait for a session that is gone.
        fn close(&self) {
            let ticket = self.request(100);
            let reply = self.manager.close_owner(self.owner, ticket);
            let answers = if reply.mail { self.mailbox.take() } else { self.next() };
            assert!(matches!(answers[..], [(request, Answer::Closed)] if request == ticket));
        }
    }

    /// Has the I/O thread run a session that ends by a bug once `until` is over.
    fn provoke<T>(manager: &Arc<Manager>, tasks: Tasks, until: fn(Arc<Manager>, SessionId) -> T) -> Result<(), Error>
    where
        T: Future<Output = ()> + Send + 'static,
    {
        for (id, _) in tasks.sessions {
            let until = until(Arc::clone(manager), id);
            let run = async move {
                until.await;
                panic!("provoked by a test");
            };
            runtime::handle()?.spawn(guard(Arc::clone(manager), id, run));
        }
        Ok(())
    }

    /// The work of a session, looked for until there is something to do.
    async fn work(manager: &Arc<Manager>, id: SessionId) -> Work {
        loop {
            match manager.next_work(id) {
                Work::Idle(_) => sleep(Duration::from_millis(1)).await,
                work => return work,
            }
        }
    }

    fn is_bug(answers: &[(RequestId, Answer)], request: RequestId) -> bool {
        matches!(answers, [(answered, Answer::Failed(error))] if *answered == request && error.code() == "ERR_INTERNAL")
    }

    #[test]
    fn a_bug_before_a_session_is_open_fails_what_it_was_for() {
        let scene = scene(|manager, tasks| provoke(manager, tasks, |_, _| async {}));
        let (id, owner) = (scene.request(1), scene.owner);
        let request = Request { id, owner, key: KEY, mode: Mode::Exclusive, patient: true, scoped: false };
        assert!(matches!(scene.manager.acquire(request).answer, Ok(Admission::Pending)));
        assert!(is_bug(&scene.next(), id));
        scene.close();
    }

    #[test]
    fn a_bug_in_the_midst_of_a_query_fails_it() {
        let scene = scene(|manager, tasks| {
            provoke(manager, tasks, |manager, id| async move {
                assert!(matches!(work(&manager, id).await, Work::Query(Query::Holders { .. })));
            })
        });
        let ticket = scene.request(1);
        assert!(scene.manager.holders(scene.owner, KEY, ticket).answer.is_ok());
        assert!(is_bug(&scene.next(), ticket));
        scene.close();
    }

    #[test]
    fn a_bug_while_a_session_closes_leaves_nobody_waiting_for_it() {
        let scene = scene(|manager, tasks| {
            provoke(manager, tasks, |manager, id| async move {
                assert!(matches!(work(&manager, id).await, Work::Query(_)));
                manager.query_done(id, Err(Error::client_closed()));
                let Work::Close(closing) = work(&manager, id).await else { panic!("nobody needs the session") };
                let _closing = closing;
                panic!("provoked by a test");
            })
        });
        let ticket = scene.request(1);
        assert!(scene.manager.holders(scene.owner, KEY, ticket).answer.is_ok());
        assert!(matches!(&scene.next()[..], [(answered, Answer::Failed(_))] if *answered == ticket));
        scene.close();
    }
}
