//! A wait for a key that others hold on the server, with or without a session of its own.

use super::backoff::with_jitter;
use crate::core::{Key, Mode};
use std::time::{Duration, Instant};

/// A wait without a place in the queue asks for one again after this part of its age, within these bounds; and what it is older than
/// [`LONG`] counts more, up to a half. Where hundreds of processes have started at once, what they ask is what they cost the server.
const PAUSE_PART_OF_AGE: u32 = 3;
const LONG: Duration = Duration::from_millis(1500);
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub key: Key,
    pub mode: Mode,
    /// When it began, on whatever session.
    pub since: Instant,
    /// Since when the direct sessions have it, where it is looked for through a pooler as well; later, where they are to keep it.
    pub direct_since: Instant,
    pub is_cancelled: bool,
    /// Its latest turn has found no place in the queue.
    pub lacks_place: bool,
}

impl Wait {
    pub const fn new(key: Key, mode: Mode, since: Instant) -> Wait {
        Wait { key, mode, since, direct_since: since, is_cancelled: false, lacks_place: false }
    }

    pub fn age(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// How long to stand back where the queue has no place: rarer with age, and not all at once.
    pub fn pause(self, now: Instant) -> Duration {
        let age = self.age(now);
        let beyond = age.saturating_sub(LONG) / (2 * PAUSE_PART_OF_AGE);
        with_jitter((age / PAUSE_PART_OF_AGE + beyond).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_long_asks_seldom() {
        let begin = Instant::now();
        let wait = Wait::new(Key::Single(1), Mode::Exclusive, begin);
        let asks = |from: u64, to: u64| {
            let mut now = begin;
            let mut asks = 0;
            while now < begin + Duration::from_secs(to) {
                now += wait.pause(now);
                asks += usize::from(now >= begin + Duration::from_secs(from));
            }
            asks
        };
        // Four hundred at 0.25 ms of the server's time each: 2 % of a core ten seconds after a start, and 0.7 % for good.
        assert!((10..30).contains(&asks(0, 2)), "{}", asks(0, 2));
        assert!((1..=3).contains(&asks(8, 16)), "{}", asks(8, 16));
        assert!((4..=7).contains(&asks(40, 120)), "{}", asks(40, 120));
    }
}
