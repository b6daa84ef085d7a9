//! One connection for a process that only waits: where its last wait without a session is all that is left to do, the session for
//! tries becomes the wait's own. To open another one, and to close that for tries for want of work some seconds later, costs the
//! server as much as many minutes of waiting.

use super::sessions::Sessions;
use super::slots::SessionSlot;
use super::wait::Wait;
use crate::core::lock_table::LockTable;
use crate::core::SessionId;

impl Sessions {
    /// Gives the session for tries to a wait that has come, where that is the last one; whether it has.
    pub(super) fn give_main_to(&mut self, wait: Wait, table: &LockTable) -> bool {
        let is_last = self.waits.polls.is_empty() && self.waits.lack_last_session(table.key_count());
        let spare = self.mains.only().filter(|&main| is_last && self.is_spare(main, table));
        if let Some(main) = spare {
            self.turn_over_main(main, wait);
        }
        spare.is_some()
    }

    /// Gives the session for tries to the wait that is polled, where that is the last one. Whether it has a session then, or will
    /// have that for tries as soon as it is open: it needs no other.
    pub(super) fn give_main_to_polled(&mut self, table: &LockTable) -> bool {
        if !self.waits.polls.is_single_movable() || !self.waits.lack_last_session(table.key_count()) {
            return false;
        }
        match self.mains.only() {
            Some(main) if self.is_spare(main, table) => {
                if let Some(wait) = self.waits.polls.take_oldest() {
                    self.turn_over_main(main, wait);
                }
                true
            }
            Some(main) => !self.slots.get(main).is_some_and(SessionSlot::is_open),
            // The next try begins it.
            None => self.mains.is_empty(),
        }
    }

    fn is_spare(&self, main: SessionId, table: &LockTable) -> bool {
        table.key_count_on(main) == 0 && self.slots.get(main).is_some_and(|slot| slot.is_open() && !slot.has_work())
    }

    fn turn_over_main(&mut self, main: SessionId, wait: Wait) {
        self.mains.remove(main);
        if let Some(slot) = self.slots.get_mut(main) {
            self.waits.adopt(slot);
            slot.wire().into_iter().for_each(|wire| wire.end_all_attendance());
        }
        self.waits.assign(main, wait, &mut self.slots);
        self.mains.closed(true);
    }
}
