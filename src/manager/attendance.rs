//! A client's thread that reads by itself what has arrived for it: then one wake-up does for an answer.

use super::handle::{Manager, Reply};
use super::mailbox::ClientId;
use super::slots::SessionSlot;
use crate::core::SessionId;

impl Manager {
    /// Takes in what has arrived for a session to which the client attends, on its thread. The answer: whether it goes on
    /// attending.
    pub fn attend(&self, session: SessionId, client: ClientId) -> Reply<bool> {
        self.change_for(Some(client), false, |state| {
            let Some(wire) = state.sessions.slots.get(session).and_then(SessionSlot::wire) else { return false };
            let (answered, goes_on) = wire.attend(client);
            state.sessions.answered(session, answered);
            goes_on
        })
    }
}
