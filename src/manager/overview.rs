//! Looks at all locks of a database, on a session of its own that holds none: for those who operate it.

use crate::error::Error;
use crate::pg::{ConnectConfig, Fault, LockUse, PooledSession, Session, Timing};
use crate::runtime;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

type Tell = Box<dyn FnOnce(Result<Vec<LockUse>, Error>) + Send>;

/// The way to ask. The session ends when it is dropped.
pub struct Overview {
    questions: UnboundedSender<Tell>,
}

impl Overview {
    /// Connects with the first look, and again with each that finds the session gone.
    ///
    /// # Errors
    /// There is no I/O thread to be had.
    pub fn new(config: ConnectConfig, timing: Timing) -> Result<Overview, Error> {
        let (questions, asked) = unbounded_channel();
        runtime::handle()?.spawn(answer(config, timing, asked));
        Ok(Overview { questions })
    }

    /// Tells who uses which lock of the database now, or why that cannot be told.
    pub fn look(&self, tell: impl FnOnce(Result<Vec<LockUse>, Error>) + Send + 'static) {
        // Where the task is gone the process ends.
        let _ = self.questions.send(Box::new(tell));
    }
}

async fn answer(config: ConnectConfig, timing: Timing, mut asked: UnboundedReceiver<Tell>) {
    let mut session = None;
    while let Some(tell) = asked.recv().await {
        let looked = look(&config, timing, &mut session).await;
        if matches!(looked, Err(Fault::Lost(_))) {
            session = None;
        }
        tell(looked.map_err(Fault::into_error));
    }
    match session {
        Some(Looking::Directly(session)) => session.close().await,
        Some(Looking::ThroughPooler(session)) => session.close().await,
        None => {}
    }
}

/// A session that looks. It holds nothing, so it may be any that a pooler lends.
enum Looking {
    Directly(Box<Session>),
    ThroughPooler(PooledSession),
}

async fn look(config: &ConnectConfig, timing: Timing, session: &mut Option<Looking>) -> Result<Vec<LockUse>, Fault> {
    let session = match session {
        Some(session) => session,
        None => session.insert(open(config, timing).await.map_err(Fault::Lost)?),
    };
    match session {
        Looking::Directly(session) => session.overview().await,
        Looking::ThroughPooler(session) => session.overview().await,
    }
}

async fn open(config: &ConnectConfig, timing: Timing) -> Result<Looking, Error> {
    match Session::open(config, timing, false).await {
        Err(error) if error.is_transaction_pooling() => {
            PooledSession::open(config, timing).await.map(Looking::ThroughPooler)
        }
        opened => opened.map(|session| Looking::Directly(Box::new(session))),
    }
}
