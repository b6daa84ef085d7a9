//! What the calls of a turn of JavaScript's event loop leave to be sent at its end, so that it goes out as one statement.

#[cfg(unix)]
use super::attend;
use super::panics::caught;
use crate::manager::{ClientId, Manager, Reply};
use napi_derive::napi;
use std::sync::{Arc, Mutex, PoisonError};

/// Flag of a reply: completions lie ready.
#[napi]
pub const MAIL: u32 = 4;
/// Flag of a reply: something is to be sent at the end of the turn, by `Client.send`.
#[napi]
pub const UNSENT: u32 = 8;

/// What a JavaScript thread has left to be sent.
pub(super) struct Unsent {
    client: ClientId,
    managers: Mutex<Vec<Arc<Manager>>>,
}

impl Unsent {
    /// Nothing yet.
    pub fn of(client: ClientId) -> Unsent {
        Unsent { client, managers: Mutex::default() }
    }

    /// The flags for what a call has brought about besides its answer; what it has left to be sent is noted.
    pub fn flags<T>(&self, manager: &Arc<Manager>, reply: &Reply<T>) -> u32 {
        if reply.unsent {
            let mut managers = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
            if !managers.last().is_some_and(|last| Arc::ptr_eq(last, manager)) {
                managers.push(Arc::clone(manager));
            }
        }
        self.attend(manager, reply);
        u32::from(reply.mail) * MAIL + u32::from(reply.unsent) * UNSENT
    }

    /// Sends what is left. Where that fails by a bug, whoever waits for an answer is told by the end of the session.
    pub fn send(&self) {
        let managers = std::mem::take(&mut *self.managers.lock().unwrap_or_else(PoisonError::into_inner));
        for manager in managers {
            if let Ok(reply) = caught(&manager, || manager.send(self.client)) {
                self.attend(&manager, &reply);
            }
        }
    }

    #[cfg_attr(not(unix), allow(clippy::unused_self))]
    fn attend<T>(&self, manager: &Arc<Manager>, reply: &Reply<T>) {
        #[cfg(unix)]
        if let Some((session, wire)) = &reply.to_attend {
            attend::begin(self.client, manager, *session, wire);
        }
        #[cfg(not(unix))]
        let _ = (manager, reply);
    }
}
