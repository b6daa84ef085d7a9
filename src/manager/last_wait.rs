//! One connection for a process that only waits: where its last wait without a session is all that is left to do, the session for
//! tries becomes the wait's own. To open another one, and to close that for tries for want of work some seconds later, costs the
//! server as much as many minutes of waiting.
//!
//! And back: a session that has nothing to wait for is the one for tries where there is none, and one that waits as well where no
//! other connection can be had.

use super::sessions::Sessions;
use super::slot::Slot;
use super::slots::SessionSlot;
use super::wait::Wait;
use crate::core::lock_table::LockTable;
use crate::core::SessionId;
use crate::pg::Role;
use std::time::Duration;

/// After so long a wait is interrupted for what another connection was to do, which is not there yet.
const TIME_TO_OPEN: Duration = Duration::from_millis(500);

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
        if self.mains.are_open(&self.slots) {
            let spare = self.mains.iter().find(|&main| self.is_spare(main, table));
            if let (Some(main), Some(wait)) = (spare, spare.and_then(|_| self.waits.polls.take_oldest())) {
                self.turn_over_main(main, wait);
            }
            return spare.is_some();
        }
        // The one that is to be open soon, or that the next try begins.
        self.mains.only().is_some() || self.mains.is_empty()
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

    /// Has a session that has nothing to wait for take new tries, if there is one; which.
    pub(super) fn take_back_idle(&mut self) -> Option<SessionId> {
        self.take_back_where(|slot| slot.wait.is_none())
    }

    /// Has a session for waits take new tries, whether it has something to wait for or not, if there is one; which. Its wait is polled
    /// on it from now on, once a turn that is under way is over.
    pub(super) fn take_back(&mut self, table: &LockTable) -> Option<SessionId> {
        let main = self.take_back_idle().or_else(|| self.take_back_where(|_| true))?;
        if self.slots.get(main).is_some_and(|slot| !slot.is_waiting) {
            self.poll_wait_of(main, table);
        }
        Some(main)
    }

    fn take_back_where(&mut self, is_meant: impl Fn(&Slot) -> bool) -> Option<SessionId> {
        let is_meant = |slot: &Slot| slot.role == Role::Wait && slot.is_open() && is_meant(slot);
        let main = self.slots.iter().filter(|(_, slot)| is_meant(slot)).map(|(id, _)| id).min()?;
        self.waits.release(main, self.slots.get_mut(main)?);
        self.mains.add(main);
        Some(main)
    }

    /// Has a wait polled whose session is not for waits any more.
    pub(super) fn poll_wait_of(&mut self, session: SessionId, table: &LockTable) {
        if let Some(wait) = self.waits.take(session, &mut self.slots) {
            let home = Some(session).filter(|_| table.home(wait.key) == Some(session));
            self.waits.poll(wait, home, &mut self.slots);
        }
    }

    /// Has a session for waits do what is queued for those that are not open yet, if it has nothing to wait for; whether it does.
    pub fn relieve_by(&mut self, session: SessionId) -> bool {
        let is_idle = self.slots.get(session).is_some_and(|slot| slot.role == Role::Wait && slot.wait.is_none());
        let is_of_use = is_idle && self.keep_waiting(Duration::ZERO);
        if is_of_use {
            if let Some(main) = self.take_back_idle() {
                self.take_over(main);
            }
        }
        is_of_use
    }

    /// Has a session for waits do what is queued for one that is not open after [`TIME_TO_OPEN`].
    pub fn relieve_opening(&mut self, table: &LockTable) {
        if self.keep_waiting(TIME_TO_OPEN) {
            if let Some(main) = self.take_back(table) {
                self.take_over(main);
            }
        }
    }

    /// Whether none of the sessions for tries is open, and one for which work is queued has not been for so long.
    fn keep_waiting(&self, time: Duration) -> bool {
        let is_late = |slot: &Slot| slot.has_work() && slot.idle_since.elapsed() >= time;
        self.mains.open_one(&self.slots).is_none()
            && self.mains.iter().any(|main| self.slots.get(main).is_some_and(is_late))
    }

    /// Gives this session what is queued for those that are not open yet.
    fn take_over(&mut self, main: SessionId) {
        let others: Vec<SessionId> = self.mains.iter().filter(|&other| other != main).collect();
        for other in others {
            let Some((jobs, queries)) = self.slots.get_mut(other).map(Slot::take_queued) else { continue };
            self.push_all(main, jobs, queries);
        }
    }
}
