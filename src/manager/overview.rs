//! Looks at all locks of a database, on a session of its own that holds none: for those who operate it.

use crate::error::Error;
use crate::pg::{ConnectConfig, Fault, LockUse, Session, Timing};
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
        tell(looked.map_err(|fault| match fault {
            Fault::Statement(error) | Fault::Lost(error) => error,
        }));
    }
    if let Some(session) = session {
        session.close().await;
    }
}

async fn look(config: &ConnectConfig, timing: Timing, session: &mut Option<Session>) -> Result<Vec<LockUse>, Fault> {
    let session = match session {
        Some(session) => session,
        None => session.insert(Session::open(config, timing).await.map_err(Fault::Lost)?),
    };
    session.overview().await
}
