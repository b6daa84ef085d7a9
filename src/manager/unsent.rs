//! The sessions that have steps to send.

use super::slot::Slot;
use super::slots::{SessionSlot, Slots};
use crate::core::{SessionId, ThreadId};
use crate::pg::Wire;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Unsent {
    sessions: Vec<SessionId>,
    /// A session that wants the calling thread's attendance.
    to_attend: Option<(SessionId, Arc<Wire>)>,
}

impl Unsent {
    /// Lists a session, if it has steps to send.
    pub fn list(&mut self, id: SessionId, slot: &mut Slot) {
        if slot.has_steps() && !std::mem::replace(&mut slot.is_unsent, true) {
            self.sessions.push(id);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sends the steps of each listed session; keeps in the list those that still have some.
    pub fn send(&mut self, slots: &mut Slots<Slot>, caller: Option<ThreadId>, send: impl Fn(&mut Slot)) {
        let Unsent { sessions, to_attend } = self;
        sessions.retain(|&id| {
            let Some(slot) = slots.get_mut(id) else { return false };
            slot.watch();
            send(slot);
            if let (Some(caller), Some(wire)) = (caller, slot.wire()) {
                if wire.wants_attendance(caller) {
                    *to_attend = Some((id, Arc::clone(wire)));
                }
            }
            slot.is_unsent = slot.has_steps();
            slot.is_unsent
        });
    }

    /// Empties the list: what may not be sent yet goes with the next answer.
    pub fn forget(&mut self, slots: &mut Slots<Slot>) {
        for id in self.sessions.drain(..) {
            if let Some(slot) = slots.get_mut(id) {
                slot.is_unsent = false;
            }
        }
    }

    pub fn take_to_attend(&mut self) -> Option<(SessionId, Arc<Wire>)> {
        self.to_attend.take()
    }
}
