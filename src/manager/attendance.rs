//! A client's thread that reads by itself what has arrived for it: then one wake-up does for an answer.

use super::{ClientId, Manager, Reply};
use crate::core::SessionId;

impl Manager {
    /// Takes in what has arrived for a session to which the client attends, on its thread. The answer: whether it goes on
    /// attending.
    pub fn attend(&self, session: SessionId, client: ClientId) -> Reply<bool> {
        self.change_for(Some(client), false, |state| {
            let Some(wire) = state.slots.get(&session).and_then(|slot| slot.wire.as_ref()) else { return false };
            let (answered, goes_on) = wire.attend(client);
            state.answered(session, answered);
            goes_on
        })
    }
}
