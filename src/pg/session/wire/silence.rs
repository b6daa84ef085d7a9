//! How long a server may be silent, and when it has been for too long.

use std::time::Duration;
use tokio::time::Instant;

/// How long silence is borne.
#[derive(Clone, Copy, Debug)]
pub(in crate::pg) struct Patience {
    /// For how long an answer is waited.
    pub answer: Duration,
    /// For how long the last sign of life promises that the session is there: the server gives it up later.
    pub promise: Duration,
}

/// Once a process stands still its timers are late. Then what is on its way has this time to arrive, before silence is found.
pub(super) const GRACE: Duration = Duration::from_millis(250);
/// A timer that comes so much too late comes after such a pause.
const LATE: Duration = Duration::from_millis(200);

/// How many bytes of an answer are worth a second. One that comes more slowly for long is given up; the longest that is taken
/// ends within twenty minutes.
const SLOWEST_ANSWER: u32 = 1 << 14;

/// Since when the server counts as silent after it has said, at `now`, so many bytes of an answer that is to come within `limit`
/// after `since`. A long answer may take its time over a slow link; one that comes in drops is none.
pub(super) fn got_on(since: Instant, limit: Duration, bytes: usize, now: Instant) -> Instant {
    // After a pause of the process what had arrived meanwhile counts from its end on.
    let since = now.checked_sub(limit).map_or(since, |earliest| since.max(earliest));
    let worth = Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / SLOWEST_ANSWER;
    (since + worth).min(now)
}

/// The silence that the I/O thread hears.
#[derive(Debug, Default)]
pub(in crate::pg::session) struct Silence {
    grace: Option<Grace>,
}

/// What is on its way after a pause of the process may arrive until then; `since`: when the silence began.
#[derive(Debug)]
struct Grace {
    since: Instant,
    until: Instant,
}

impl Silence {
    /// After all has been read that is there, at `now`: when a silence since `since` will have been too long; `None`: it has.
    pub fn end(&mut self, since: Instant, limit: Duration, now: Instant) -> Option<Instant> {
        let due = since + limit;
        if now < due {
            return Some(due);
        }
        if self.grace.as_ref().is_none_or(|grace| grace.since != since) {
            self.grace = Some(Grace { since, until: if now - due > LATE { now + GRACE } else { now } });
        }
        self.grace.as_ref().map(|grace| grace.until).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn a_silence_is_too_long_when_its_time_is_over() {
        let (mut silence, begin) = (Silence::default(), Instant::now());
        assert_eq!(silence.end(begin, LIMIT, begin), Some(begin + LIMIT));
        assert_eq!(silence.end(begin, LIMIT, begin + LIMIT), None);
    }

    #[test]
    fn an_answer_in_drops_has_the_time_of_one() {
        let (mut silence, begin) = (Silence::default(), Instant::now());
        let (mut since, mut now, mut next_drop) = (begin, begin, begin);
        while let Some(due) = silence.end(since, LIMIT, now) {
            now = due.min(next_drop);
            if now == next_drop {
                since = got_on(since, LIMIT, 15, now);
                next_drop += LIMIT / 50;
            }
        }
        assert!((LIMIT..LIMIT + LIMIT / 20).contains(&(now - begin)));
    }

    #[test]
    fn a_long_answer_over_a_slow_link_has_the_time_that_it_takes() {
        let (mut silence, begin) = (Silence::default(), Instant::now());
        let (mut since, mut now) = (begin, begin);
        for _ in 0..600 {
            now += Duration::from_millis(100);
            since = got_on(since, LIMIT, 2000, now);
            assert!(silence.end(since, LIMIT, now).is_some());
        }
        assert_eq!(got_on(since, LIMIT, 1 << 30, now), now, "and no more than that once it stops");
        let late = now + 10 * LIMIT;
        assert!(
            silence.end(got_on(now, LIMIT, 100_000, late), LIMIT, late).is_some(),
            "nor less because this process stood still"
        );
    }

    #[test]
    fn after_a_pause_of_the_process_what_is_on_its_way_may_arrive() {
        let (mut silence, begin) = (Silence::default(), Instant::now());
        let late = begin + LIMIT + Duration::from_secs(7);
        assert_eq!(silence.end(begin, LIMIT, late), Some(late + GRACE));
        assert_eq!(silence.end(begin, LIMIT, late + GRACE), None, "once");
        let answer = late + GRACE / 2;
        assert_eq!(silence.end(answer, LIMIT, late + GRACE), Some(answer + LIMIT), "and an answer begins anew");
    }
}
