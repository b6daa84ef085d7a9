//! What the calls of a turn of JavaScript's event loop leave to be sent at its end, so that it goes out as one statement.

use crate::manager::{Manager, Reply};
use napi_derive::napi;
use std::sync::{Arc, Mutex, PoisonError};

/// Flag of a reply: completions lie ready.
#[napi]
pub const MAIL: u32 = 4;
/// Flag of a reply: something is to be sent at the end of the turn, by `Client.send`.
#[napi]
pub const UNSENT: u32 = 8;

/// Managers that have something to send for a JavaScript thread.
#[derive(Default)]
pub(super) struct Unsent(Mutex<Vec<Arc<Manager>>>);

impl Unsent {
    /// The flags for what a call has brought about besides its answer; what it has left to be sent is noted.
    pub fn flags<T>(&self, manager: &Arc<Manager>, reply: &Reply<T>) -> u32 {
        if reply.unsent {
            let mut managers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !managers.last().is_some_and(|last| Arc::ptr_eq(last, manager)) {
                managers.push(Arc::clone(manager));
            }
        }
        u32::from(reply.mail) * MAIL + u32::from(reply.unsent) * UNSENT
    }

    pub fn send(&self) {
        let managers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        managers.iter().for_each(|manager| manager.send());
    }
}
