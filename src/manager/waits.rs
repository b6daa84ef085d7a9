//! Those who wait for keys that others hold on the server: each wait has a session of its own, in the server's queue, or is polled
//! until one is free.

use super::backoff::Backoff;
use super::polls::{Cancelled, Polls};
use super::slot::Slot;
use super::slots::{SessionSlot, Slots};
use super::wait::Wait;
use crate::core::lock_table::LockTable;
use crate::core::{Key, SessionId};
use crate::pg::Role;
use foldhash::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// For so long a wait is not tried while the session is opened that will be its own.
const TIME_TO_OPEN: Duration = Duration::from_millis(200);
/// After so long a wait is left to others, if there are any: once it has had a turn in the server's queue.
const LONG_WAIT: Duration = Duration::from_millis(800);

pub(super) struct Waits {
    pub polls: Polls,
    /// The keys that sessions wait for.
    by_key: HashMap<Key, SessionId>,
    /// How many sessions for waits there may be, and how many there are.
    most_sessions: usize,
    sessions: usize,
    /// Those that are not open yet, and those that have nothing to wait for, the latest one last.
    opening: HashSet<SessionId>,
    free: Vec<SessionId>,
    backoff: Backoff,
    /// From when on waits that last are left to others, if ever; and such waits.
    leave_from: Option<Instant>,
    leaving: Vec<Wait>,
}

impl Waits {
    /// `most_sessions`: the most sessions that wait in the server's queue; `leave`: whether waits that last are left to others.
    pub fn new(most_sessions: usize, leave: bool) -> Waits {
        Waits {
            polls: Polls::default(),
            by_key: HashMap::default(),
            most_sessions,
            sessions: 0,
            opening: HashSet::default(),
            free: Vec::new(),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            leave_from: leave.then(Instant::now),
            leaving: Vec::new(),
        }
    }

    /// Whether some are given to sessions.
    pub fn have_sessions(&self) -> bool {
        !self.by_key.is_empty()
    }

    /// Whether there are more waits without a session than sessions that are about to be theirs.
    pub fn lack_sessions(&self) -> bool {
        self.polls.movable() > self.opening.len()
    }

    /// Begins sessions for waits that have none, as far as may be: one at a time, where the last one could not be opened.
    pub fn begin_sessions(&mut self, slots: &mut Slots<Slot>, now: Instant) {
        while self.lack_sessions()
            && self.sessions < self.most_sessions
            && self.backoff.is_over(now)
            && (self.opening.is_empty() || !self.backoff.has_failed())
        {
            self.sessions += 1;
            self.opening.insert(slots.begin(Slot::new(Role::Wait, Instant::now())));
        }
    }

    /// Whether there may be one more session, none is free or about to be, and of the keys in the table, so many, all but one have
    /// theirs.
    pub fn lack_last_session(&self, keys: usize) -> bool {
        self.sessions < self.most_sessions
            && self.free.is_empty()
            && self.opening.is_empty()
            && keys == self.by_key.len() + 1
    }

    /// An open session that was for something else is one of theirs from now on.
    pub fn adopt(&mut self, slot: &mut Slot) {
        slot.role = Role::Wait;
        self.sessions += 1;
    }

    /// A session is not one of theirs any more. What it waits for is up to the caller.
    pub fn release(&mut self, session: SessionId, slot: &mut Slot) {
        slot.role = Role::Main;
        self.sessions -= 1;
        if std::mem::take(&mut slot.is_free) {
            self.free.retain(|&free| free != session);
        }
    }

    /// One of their sessions is open.
    pub fn session_opened(&mut self, id: SessionId) {
        self.opening.remove(&id);
        self.backoff.succeeded();
    }

    /// One of their sessions could not be opened.
    pub fn session_failed(&mut self) {
        self.backoff.failed(Instant::now());
    }

    /// A session is gone, or closing. What it was to wait for is up to the caller.
    pub fn remove_session(&mut self, id: SessionId, slot: &Slot) {
        if slot.role == Role::Wait {
            self.sessions -= 1;
            self.opening.remove(&id);
        }
        if slot.is_free {
            self.free.retain(|&free| free != id);
        }
        if let Some(wait) = slot.wait {
            self.by_key.remove(&wait.key);
        }
    }

    /// Has a session wait that is free to, or polls until one is.
    pub fn begin(&mut self, wait: Wait, slots: &mut Slots<Slot>) {
        match self.take_free(slots) {
            Some(session) => self.assign(session, wait, slots),
            None => self.poll(wait, None, slots),
        }
    }

    pub fn poll(&mut self, wait: Wait, home: Option<SessionId>, slots: &mut Slots<Slot>) {
        let now = Instant::now();
        self.polls.add(wait, home, now);
        self.begin_sessions(slots, now);
        if home.is_none() && !self.lack_sessions() {
            // Its session is there soon, if nothing is in the way.
            self.polls.postpone(wait.key, now + TIME_TO_OPEN);
        }
    }

    pub fn assign(&mut self, session: SessionId, wait: Wait, slots: &mut Slots<Slot>) {
        if let Some(slot) = slots.get_mut(session) {
            slot.begin_wait(wait);
            self.by_key.insert(wait.key, session);
        }
    }

    /// Takes the wait of a session that is over, in whatever way.
    pub fn take(&mut self, session: SessionId, slots: &mut Slots<Slot>) -> Option<Wait> {
        let wait = slots.get_mut(session)?.wait.take()?;
        self.by_key.remove(&wait.key);
        Some(wait)
    }

    /// Has all waits stay here until then.
    pub fn stay_until(&mut self, time: Instant) {
        self.leave_from = Some(time);
    }

    /// Leaves a wait that nobody has any more to others, if it has lasted, and none of those who wait holds anything: they may be
    /// tied into a ring that only shows in the server's queue. Whether it is left to them.
    pub fn leave(&mut self, wait: Wait, table: &LockTable, now: Instant) -> bool {
        let leaves = self.leave_from.is_some_and(|from| from <= now)
            && !wait.is_cancelled
            && now.saturating_duration_since(wait.direct_since) >= LONG_WAIT
            && !table.is_awaited_by_holders(wait.key);
        if leaves {
            self.leaving.push(wait);
        }
        leaves
    }

    /// The waits that are left to others.
    pub fn take_leaving(&mut self) -> impl Iterator<Item = Wait> + '_ {
        self.leaving.drain(..)
    }

    /// Ends a wait wherever it is; whether it has ended, and will not be heard of again.
    pub fn cancel(&mut self, key: Key, slots: &mut Slots<Slot>) -> bool {
        match self.polls.cancel(key) {
            Cancelled::Ended => return true,
            Cancelled::Later => {}
            Cancelled::Unknown => {
                let slot = self.by_key.get(&key).and_then(|&session| slots.get_mut(session));
                if let Some((changed, wait)) = slot.and_then(|slot| Some((&slot.changed, slot.wait.as_mut()?))) {
                    wait.is_cancelled = true;
                    changed.notify_one();
                }
            }
        }
        false
    }

    /// Gives a session without work the oldest wait that has none, or keeps it for the next one; whether it has one now.
    pub fn find_for(&mut self, session: SessionId, slots: &mut Slots<Slot>, table: &LockTable) -> bool {
        if !self.is_without_work(session, slots, table) {
            return false;
        }
        let wait = self.polls.take_oldest();
        match wait {
            Some(wait) => self.assign(session, wait, slots),
            None => self.keep_free(session, slots, table),
        }
        wait.is_some()
    }

    /// Keeps a session without work for the next wait.
    pub fn keep_free(&mut self, session: SessionId, slots: &mut Slots<Slot>, table: &LockTable) {
        if self.is_without_work(session, slots, table) {
            if let Some(slot) = slots.get_mut(session) {
                slot.is_free = true;
                self.free.push(session);
            }
        }
    }

    /// Gives free sessions to waits that have none.
    pub fn use_free(&mut self, slots: &mut Slots<Slot>) {
        while self.polls.movable() > 0 {
            let Some(session) = self.take_free(slots) else { return };
            if let Some(wait) = self.polls.take_oldest() {
                self.assign(session, wait, slots);
            }
        }
    }

    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    fn take_free(&mut self, slots: &mut Slots<Slot>) -> Option<SessionId> {
        let session = self.free.pop()?;
        if let Some(slot) = slots.get_mut(session) {
            slot.is_free = false;
        }
        Some(session)
    }

    fn is_without_work(&self, session: SessionId, slots: &Slots<Slot>, table: &LockTable) -> bool {
        slots
            .get(session)
            .is_some_and(|slot| slot.role == Role::Wait && slot.is_open() && slot.wait.is_none() && !slot.is_free)
            && table.key_count_on(session) == 0
    }
}
