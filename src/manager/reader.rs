//! A client that reads a session's socket: what the server says then wakes that client's thread, and no other one in between.
//!
//! Only the one client of a manager reads, so that no other waits for a thread that is busy; and never a thread that may end
//! before the process does.

use super::mailbox::{Answer, Mailbox};
use super::state::State;
use super::{ClientId, Manager, Reply};
use crate::core::SessionId;
use crate::pg::{Lane, Role};
use std::sync::{Arc, Weak};

/// The right to read a session's socket.
#[derive(Clone)]
pub struct SessionReader {
    manager: Arc<Manager>,
    session: SessionId,
    client: ClientId,
    lane: Arc<Lane>,
}

impl SessionReader {
    /// Which session it is.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whose session it is.
    #[must_use]
    pub fn manager(&self) -> &Arc<Manager> {
        &self.manager
    }

    /// Begins: a descriptor to read from, which belongs to the caller. `None`: there is nothing to read any more, or another
    /// client has come.
    #[cfg(unix)]
    #[must_use]
    pub fn begin(&self) -> Option<std::os::fd::OwnedFd> {
        let mut state = self.manager.lock();
        if !state.is_only_client(self.client) {
            return None;
        }
        let slot = state.slots.get_mut(&self.session)?;
        let descriptor = self.lane.lend()?;
        slot.reader = Some(self.client);
        Some(descriptor)
    }

    /// Hands in what has been read.
    #[must_use]
    pub fn hand_in(&self, bytes: &[u8]) -> Reply<()> {
        let answered = self.lane.hand_in(bytes);
        if answered.is_empty() {
            return Reply { answer: (), mail: false, unsent: false };
        }
        self.manager.answered(self.session, answered, Some(self.client))
    }

    /// Ends: nothing is read from the descriptor any more.
    pub fn end(&self) {
        if let Some(slot) = self.manager.lock().slots.get_mut(&self.session) {
            slot.reader = None;
        }
        self.lane.take_back();
    }
}

impl State {
    /// Offers the client, once for each session, to read its socket, if it may and can.
    pub(super) fn offer_reading(&mut self, manager: &Weak<Manager>, session: SessionId) {
        let Some(slot) = self.slots.get_mut(&session) else { return };
        if slot.role != Role::Main || std::mem::replace(&mut slot.reading_is_offered, true) {
            return;
        }
        let Some((manager, lane)) = manager.upgrade().zip(slot.lane.as_ref().map(Arc::clone)) else { return };
        let Some(mailbox) = self.only_mailbox().filter(|mailbox| mailbox.can_read).map(Arc::clone) else { return };
        let reader = SessionReader { manager, session, client: mailbox.client, lane };
        self.post_to(&mailbox, Answer::MayRead(reader));
    }

    /// Another client has come: nobody is to wait for the one that reads.
    pub(super) fn stop_reading(&mut self) {
        let reading: Vec<_> = self.slots.iter().filter_map(|(&id, slot)| Some((id, slot.reader?))).collect();
        for (session, client) in reading {
            if let Some(mailbox) = self.mailbox(client).map(Arc::clone) {
                self.post_to(&mailbox, Answer::StopReading(session));
            }
        }
    }

    fn post_to(&mut self, mailbox: &Arc<Mailbox>, answer: Answer) {
        if mailbox.put(mailbox.client.unanswered(), answer) {
            self.to_wake.push(Arc::clone(mailbox));
        }
    }
}
