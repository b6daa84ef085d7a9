//! A wait for a key that others hold on the server, with or without a session of its own.

use super::backoff::with_jitter;
use crate::core::{Key, Mode};
use std::time::{Duration, Instant};

/// A wait without a place in the queue asks for one again after this part of its age, within these bounds.
const PAUSE_PART_OF_AGE: u32 = 3;
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub key: Key,
    pub mode: Mode,
    /// When it began, on whatever session.
    pub since: Instant,
    /// Since when the direct sessions have it, where it is looked for through a pooler as well.
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
        with_jitter((self.age(now) / PAUSE_PART_OF_AGE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }
}
