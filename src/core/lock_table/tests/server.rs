//! PostgreSQL's advisory locks as its lock manager decides them (`src/backend/storage/lmgr`: `LockAcquire`,
//! `JoinWaitQueue`, `ProcLockWakeup`), without anything else of PostgreSQL.

use crate::core::{Key, Mode, Modes, SessionId};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Server {
    keys: BTreeMap<Key, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    granted: Vec<(SessionId, Mode)>,
    waiters: Vec<(SessionId, Mode)>,
}

impl Server {
    /// `pg_try_advisory_lock`.
    pub fn try_lock(&mut self, session: SessionId, key: Key, mode: Mode) -> bool {
        let entry = self.keys.entry(key).or_default();
        let free = entry.is_free_for(session, mode)
            && entry.waiters.iter().all(|&(other, awaited)| other == session || !mode.conflicts_with(awaited));
        if free {
            entry.grant(session, mode);
        }
        free
    }

    /// `pg_advisory_lock`; whether it is granted at once.
    pub fn lock(&mut self, session: SessionId, key: Key, mode: Mode) -> bool {
        let entry = self.keys.entry(key).or_default();
        // A holder goes before those who wait for what it holds, as it could never be granted behind them.
        let mine: Vec<Mode> =
            entry.granted.iter().filter(|(holder, _)| *holder == session).map(|&(_, mode)| mode).collect();
        let place = entry.waiters.iter().position(|(_, awaited)| mine.iter().any(|mine| mine.conflicts_with(*awaited)));
        entry.waiters.insert(place.unwrap_or(entry.waiters.len()), (session, mode));
        entry.wake();
        !self.is_waiting(session, key)
    }

    /// `pg_advisory_unlock`; false if there was no such lock.
    pub fn unlock(&mut self, session: SessionId, key: Key, mode: Mode) -> bool {
        let Some(entry) = self.keys.get_mut(&key) else { return false };
        let Some(index) = entry.granted.iter().position(|&granted| granted == (session, mode)) else { return false };
        entry.granted.remove(index);
        entry.wake();
        true
    }

    /// Ends a wait.
    pub fn cancel(&mut self, session: SessionId, key: Key) {
        if let Some(entry) = self.keys.get_mut(&key) {
            entry.waiters.retain(|&(waiter, _)| waiter != session);
            entry.wake();
        }
    }

    /// The session ends.
    pub fn end(&mut self, session: SessionId) {
        for entry in self.keys.values_mut() {
            entry.waiters.retain(|&(waiter, _)| waiter != session);
            entry.granted.retain(|&(holder, _)| holder != session);
            entry.wake();
        }
    }

    pub fn holds(&self, session: SessionId, key: Key, mode: Mode) -> bool {
        self.keys.get(&key).is_some_and(|entry| entry.granted.contains(&(session, mode)))
    }

    /// How this session holds the key.
    pub fn held(&self, session: SessionId, key: Key) -> Modes {
        Modes { exclusive: self.holds(session, key, Mode::Exclusive), shared: self.holds(session, key, Mode::Shared) }
    }

    pub fn is_waiting(&self, session: SessionId, key: Key) -> bool {
        self.keys.get(&key).is_some_and(|entry| entry.waiters.iter().any(|&(waiter, _)| waiter == session))
    }

    pub fn is_contended(&self, key: Key) -> bool {
        self.keys.get(&key).is_some_and(|entry| !entry.waiters.is_empty())
    }

    /// Who holds the key, once for each mode.
    pub fn holders(&self, key: Key) -> impl Iterator<Item = (SessionId, Mode)> + '_ {
        self.keys.get(&key).into_iter().flat_map(|entry| entry.granted.iter().copied())
    }
}

impl Entry {
    fn is_free_for(&self, session: SessionId, mode: Mode) -> bool {
        self.granted.iter().all(|&(holder, held)| holder == session || !mode.conflicts_with(held))
    }

    fn grant(&mut self, session: SessionId, mode: Mode) {
        assert!(!self.granted.contains(&(session, mode)), "a lock is taken twice");
        self.granted.push((session, mode));
    }

    fn wake(&mut self) {
        let mut ahead: Vec<(SessionId, Mode)> = Vec::new();
        for (session, mode) in std::mem::take(&mut self.waiters) {
            if self.is_free_for(session, mode) && !ahead.iter().any(|(_, awaited)| mode.conflicts_with(*awaited)) {
                self.grant(session, mode);
            } else {
                ahead.push((session, mode));
            }
        }
        self.waiters = ahead;
    }
}
