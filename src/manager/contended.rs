//! Keys that were found taken elsewhere a moment ago: their next try would fail as well.

use crate::core::Key;
use foldhash::{HashSet, HashSetExt};
use std::time::{Duration, Instant};

/// For how long a key is remembered at least; at most twice as long.
const REMEMBERED_FOR: Duration = Duration::from_millis(300);
/// So many in that time; those beyond are tried.
const MOST: usize = 10_000;

/// In two generations, of which the older one is forgotten as a whole.
#[derive(Debug)]
pub(super) struct Contended {
    young: HashSet<Key>,
    old: HashSet<Key>,
    since: Instant,
}

impl Contended {
    pub fn new(now: Instant) -> Contended {
        Contended { young: HashSet::new(), old: HashSet::new(), since: now }
    }

    pub fn insert(&mut self, key: Key, now: Instant) {
        self.age(now);
        if self.young.len() < MOST {
            self.young.insert(key);
        }
    }

    pub fn contains(&mut self, key: Key, now: Instant) -> bool {
        self.age(now);
        self.young.contains(&key) || self.old.contains(&key)
    }

    fn age(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= REMEMBERED_FOR {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            if age >= 2 * REMEMBERED_FOR {
                self.old.clear();
            }
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_forgotten_after_a_while() {
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let (key, other) = (Key::Single(1), Key::Single(2));
        let mut contended = Contended::new(begin);
        contended.insert(key, at(100));
        contended.insert(other, at(350));
        assert!(contended.contains(key, at(400)) && contended.contains(other, at(400)));
        assert!(!contended.contains(key, at(700)) && contended.contains(other, at(700)));
        assert!(!contended.contains(other, at(2000)));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let now = Instant::now();
        let mut contended = Contended::new(now);
        for key in 0..20_000 {
            contended.insert(Key::Single(key), now);
        }
        assert!(contended.contains(Key::Single(9999), now) && !contended.contains(Key::Single(10_000), now));
    }
}
