//! What the tasks of all sessions have in common, whether there is a pooler or not: how one is opened, and how it is idle.

use super::handle::Manager;
use super::news::{self, SessionEvent};
use crate::error::Error;
use std::future::Future;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// Awaits the opening of a session, as long as somebody needs one. Tells those who want to know of a failure.
pub(super) async fn open<S>(
    manager: &Manager,
    changed: &Notify,
    opening: impl Future<Output = Result<S, Error>>,
) -> Result<S, Error> {
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
    if let Err(cause) = &opened {
        if !manager.is_abandoned() {
            news::tell(SessionEvent::Failed, None, None, Some(cause));
        }
    }
    opened
}

/// Does nothing until something changes or the time has passed; `lost` resolves when the session is over, to the reason.
pub(super) async fn idle(lost: impl Future<Output = Error>, changed: &Notify, limit: Duration) -> Result<(), Error> {
    tokio::select! {
        () = changed.notified() => Ok(()),
        cause = lost => Err(cause),
        () = sleep(limit) => Ok(()),
    }
}
