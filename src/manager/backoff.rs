//! How long to leave it alone what has failed.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Pauses after failures, each twice as long as the one before, up to a longest one; and not of the same length everywhere.
#[derive(Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub const fn new(shortest: Duration, longest: Duration) -> Backoff {
        Backoff { shortest, longest, failures: 0, until: None }
    }

    /// For how long it is not to be tried yet.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Whether it may be tried now.
    pub fn is_over(&self, now: Instant) -> bool {
        self.remaining(now).is_zero()
    }

    /// Whether it has failed the last time, so that one attempt at a time will do.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    pub fn failed(&mut self, now: Instant) {
        let pause = self.shortest.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.longest);
        self.until = Some(now + with_jitter(pause));
        self.failures = self.failures.saturating_add(1);
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }
}

/// From three quarters to five quarters of a time, so that many do not come all at once.
pub(super) fn with_jitter(time: Duration) -> Duration {
    random_between(time * 3 / 4, time * 5 / 4)
}

/// Some time from one to another.
pub(super) fn random_between(shortest: Duration, longest: Duration) -> Duration {
    const STEPS: u32 = 1024;
    let random = RandomState::new().hash_one(()) % u64::from(STEPS);
    shortest + longest.saturating_sub(shortest) * u32::try_from(random).unwrap_or(STEPS) / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_with_a_success() {
        let begin = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        assert!(backoff.is_over(begin) && !backoff.has_failed());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            backoff.failed(begin);
            assert!(backoff.has_failed());
            let pause = backoff.remaining(begin);
            assert!(pause >= Duration::from_millis(seconds * 750) && pause <= Duration::from_millis(seconds * 1250));
            assert!(!backoff.is_over(begin) && backoff.is_over(begin + pause));
        }
        backoff.succeeded();
        assert!(backoff.is_over(begin) && !backoff.has_failed());
    }

    #[test]
    fn failures_without_end_do_not_overflow() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        (0..100).for_each(|_| backoff.failed(now));
        assert!(backoff.remaining(now) <= Duration::from_millis(2500));
    }
}
