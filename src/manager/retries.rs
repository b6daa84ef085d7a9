//! Waits that have no session of their own: when each is tried again, and at what price for the server.

use super::slot::Wait;
use crate::core::{Key, Mode, SessionId};
use foldhash::HashMap;
use std::time::{Duration, Instant};

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);
/// A wait is tried again after this part of its age.
const PART_OF_AGE: u32 = 100;
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

impl Retry {
    fn is_movable(&self) -> bool {
        self.home.is_none() && !self.under_way && !self.cancelled
    }
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

    /// `since`: when the wait began.
    pub fn add(&mut self, key: Key, mode: Mode, home: Option<SessionId>, since: Instant) {
        let now = Instant::now().max(since);
        self.turns += 1;
        let retry =
            Retry { mode, home, cancelled: false, under_way: false, since, next: now + SHORTEST, turn: self.turns };
        self.waits.insert(key, retry);
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Retry> {
        self.waits.get_mut(&key)
    }

    pub fn remove(&mut self, key: Key) -> Option<Retry> {
        self.waits.remove(&key)
    }

    /// Whether any session may take a wait over.
    pub fn has_movable(&self) -> bool {
        self.waits.values().any(Retry::is_movable)
    }

    /// Takes out the wait that has been without a session for the longest time and that any session may take over.
    pub fn take_oldest(&mut self) -> Option<Wait> {
        let movable = self.waits.iter().filter(|(_, retry)| retry.is_movable());
        let (&key, _) = movable.min_by_key(|(_, retry)| retry.turn)?;
        self.waits.remove(&key).map(|retry| Wait::new(key, retry.mode, retry.since))
    }

    /// The waits to try now, oldest first, which count as under way from here on.
    pub fn due(&mut self, now: Instant) -> Vec<(Key, Mode, Option<SessionId>)> {
        // Those of the next moment as well: one statement is cheaper than two.
        let soon = now + SHORTEST;
        let mut due: Vec<(&Key, &mut Retry)> =
            self.waits.iter_mut().filter(|(_, retry)| !retry.under_way && retry.next < soon).collect();
        due.sort_unstable_by_key(|(_, retry)| retry.turn);
        due.into_iter()
            .map(|(&key, retry)| {
                retry.under_way = true;
                let age = now.saturating_duration_since(retry.since);
                retry.next = now + (age / PART_OF_AGE).clamp(SHORTEST, LONGEST);
                (key, retry.mode, retry.home)
            })
            .collect()
    }

    /// When to look for due waits again after `tried` were tried.
    pub fn pause(&self, tried: usize, now: Instant) -> Duration {
        let price = price(tried) * SHARE;
        let next = self.waits.values().map(|retry| retry.next).min();
        let until_due = next.map_or(LONGEST, |next| next.saturating_duration_since(now));
        until_due.max(if tried > 0 { price } else { SHORTEST }).min(LONGEST.max(price))
    }
}

/// What a statement of so many tries that fail costs the server: by pgbench 42 µs for one, 99 for 64, 335 for 512.
fn price(tries: usize) -> Duration {
    Duration::from_micros(50 + tries as u64 * 3 / 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often `count` waits are tried within `time` from this age on, and the price.
    fn tries(count: i32, age: Duration, time: Duration) -> (usize, Duration) {
        let begin = Instant::now();
        let mut retries = Retries::default();
        for low in 0..count {
            retries.add(Key::Pair(0, low), Mode::Exclusive, None, begin);
        }
        let mut now = begin;
        let (mut rounds, mut cost) = (0, Duration::ZERO);
        while now < begin + age + time {
            let due = retries.due(now);
            for (key, ..) in &due {
                retries.get_mut(*key).expect("it was due").under_way = false;
            }
            if now >= begin + age && !due.is_empty() {
                rounds += 1;
                cost += price(due.len());
            }
            now += retries.pause(due.len(), now);
        }
        (rounds, cost)
    }

    #[test]
    fn fresh_waits_are_tried_often_and_old_ones_four_times_a_second() {
        let second = Duration::from_secs(1);
        assert!(tries(1, Duration::ZERO, second).0 > 80);
        assert!(tries(200, Duration::ZERO, second).0 > 100, "every 8.5 ms, as that is what they may cost");
        assert_eq!(tries(200, 60 * second, second).0, 4);
    }

    #[test]
    fn they_never_take_more_than_their_share() {
        for count in [1, 10, 100, 1000, 10_000] {
            for seconds in [0, 1, 5, 60] {
                let time = Duration::from_secs(10);
                let (_, cost) = tries(count, Duration::from_secs(seconds), time);
                assert!(cost <= time / SHARE * 11 / 10, "{count} of {seconds} s cost {cost:?} in {time:?}");
            }
        }
    }
}
