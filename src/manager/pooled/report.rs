//! What has come of the work of sessions through a pooler.

use crate::core::lock_table::{LockTable, Ticks};
use crate::core::{Key, RequestId, SessionId};
use crate::error::Error;
use crate::manager::mailbox::Answer;

pub(in crate::manager) enum Report {
    /// For the lock table; with the reason of bad news.
    Event(Event, Option<Error>),
    /// For whoever has the ticket.
    Answer(RequestId, Answer),
}

/// What the server has answered, or what has become of a session, in the words of [`LockTable`].
#[derive(Clone, Copy, Debug)]
pub(in crate::manager) enum Event {
    Acquired { key: Key, home: SessionId },
    Denied { key: Key },
    WaitEnded { key: Key },
    AcquireFailed { key: Key },
    Released { key: Key, held: bool },
    Downgraded { key: Key, done: bool },
    Probed { key: Key, contended: bool },
    SessionLost { session: SessionId },
}

impl Event {
    pub fn tell(self, table: &mut LockTable, now: Ticks) {
        match self {
            Event::Acquired { key, home } => table.acquired(key, home, now),
            Event::Denied { key } => table.denied(key, now),
            Event::WaitEnded { key } => table.wait_ended(key, now),
            Event::AcquireFailed { key } => table.acquire_failed(key, now),
            Event::Released { key, held } => table.released(key, held, now),
            Event::Downgraded { key, done } => table.downgraded(key, done, now),
            Event::Probed { key, contended } => table.probed(key, contended, now),
            Event::SessionLost { session } => table.session_lost(session, now),
        }
    }
}
