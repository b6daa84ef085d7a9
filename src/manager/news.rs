//! What becomes of sessions, for whoever wants to know.

use super::mailbox::ClientId;
use crate::error::{Error, Peer};
use crate::pg::Wire;
use std::sync::{Arc, Mutex, PoisonError};

/// What has become of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// It is open.
    Opened,
    /// It has closed.
    Closed,
    /// It is gone with all its locks.
    Lost,
    /// It could not be opened.
    Failed,
}

/// News of one session.
#[derive(Clone, Debug)]
pub struct SessionNews {
    /// What has become of it.
    pub event: SessionEvent,
    /// The process id of its backend, if it has one.
    pub pid: Option<i32>,
    /// Where its server is, if that is known.
    pub peer: Option<Peer>,
    /// Why, where it is no success.
    pub error: Option<Error>,
}

type Listener = Arc<dyn Fn(&SessionNews) + Send + Sync>;

/// One for each thread.
static LISTENERS: Mutex<Vec<(ClientId, Listener)>> = Mutex::new(Vec::new());

/// Tells the client's thread what becomes of the sessions of the process, until [`stop_listening`].
pub fn listen(client: ClientId, listener: impl Fn(&SessionNews) + Send + Sync + 'static) {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner).push((client, Arc::new(listener)));
}

/// Ends what [`listen`] began.
pub fn stop_listening(client: ClientId) {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != client);
}

/// Tells all who listen. `pid`: of the session's backend, if it has one for good; `wire`: its connection, once it is open.
pub(super) fn tell(event: SessionEvent, pid: Option<i32>, wire: Option<&Wire>, error: Option<&Error>) {
    let listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let peer = wire.map(Wire::peer).or_else(|| error?.peer()).cloned();
    let news = SessionNews { event, pid, peer, error: error.cloned() };
    for (_, listener) in listeners {
        listener(&news);
    }
}
