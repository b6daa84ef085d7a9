//! Waits that have no session of their own: when each is tried again, and at what price for the server.

use crate::core::{Key, Mode, SessionId};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);
/// Retries take at most one part in so many of a server core's time.
const SHARE: u32 = 50;

/// One such wait.
#[derive(Debug)]
pub(super) struct Retry {
    pub mode: Mode,
    /// Where it must be tried, as that session holds the key in the other mode.
    pub home: Option<SessionId>,
    pub cancelled: bool,
    pub under_way: bool,
    since: Instant,
    next: Instant,
    /// Order of arrival.
    turn: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waits: HashMap<Key, Retry>,
    turns: u64,
    /// Whether somebody calls [`Retries::due`] from time to time.
    pub ticking: bool,
}

impl Retries {
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    pub fn add(&mut self, key: Key, mode: Mode, home: Option<SessionId>, now: Instant) {
        self.turns += 1;
        let retry = Retry {
            mode,
            home,
            cancelled: false,
            under_way: false,
            since: now,
            next: now + SHORTEST,
            turn: self.turns,
        };
        self.waits.insert(key, retry);
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Retry> {
        self.waits.get_mut(&key)
    }

    pub fn remove(&mut self, key: Key) -> Option<Retry> {
        self.waits.remove(&key)
    }

    /// Takes out the oldest wait that any session may take over.
    pub fn take_oldest(&mut self) -> Option<(Key, Mode)> {
        let movable = |retry: &Retry| retry.home.is_none() && !retry.under_way && !retry.cancelled;
        let (&key, _) = self.waits.iter().filter(|(_, retry)| movable(retry)).min_by_key(|(_, retry)| retry.turn)?;
        self.waits.remove(&key).map(|retry| (key, retry.mode))
    }

    /// The waits to try now, oldest first, which count as under way from here on.
    pub fn due(&mut self, now: Instant) -> Vec<(Key, Mode, Option<SessionId>)> {
        let mut due: Vec<(&Key, &mut Retry)> =
            self.waits.iter_mut().filter(|(_, retry)| !retry.under_way && retry.next <= now).collect();
        due.sort_unstable_by_key(|(_, retry)| retry.turn);
        due.into_iter()
            .map(|(&key, retry)| {
                retry.under_way = true;
                let age = now.saturating_duration_since(retry.since);
                retry.next = now + (age / 4).clamp(SHORTEST, LONGEST);
                (key, retry.mode, retry.home)
            })
            .collect()
    }

    /// When to look for due waits again after `tried` were tried: a statement of n tries costs the server about
    /// 70 µs + 1.7 µs · n.
    pub fn pause(&self, tried: usize, now: Instant) -> Duration {
        let price = Duration::from_micros(70 + 17 * tried as u64 / 10) * SHARE;
        let next = self.waits.values().map(|retry| retry.next).min();
        let until_due = next.map_or(LONGEST, |next| next.saturating_duration_since(now));
        until_due.max(if tried > 0 { price } else { SHORTEST }).min(LONGEST.max(price))
    }
}
