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
    fn after_a_pause_of_the_process_what_is_on_its_way_may_arrive() {
        let (mut silence, begin) = (Silence::default(), Instant::now());
        let late = begin + LIMIT + Duration::from_secs(7);
        assert_eq!(silence.end(begin, LIMIT, late), Some(late + GRACE));
        assert_eq!(silence.end(begin, LIMIT, late + GRACE), None, "once");
        let answer = late + GRACE / 2;
        assert_eq!(silence.end(answer, LIMIT, late + GRACE), Some(answer + LIMIT), "and an answer begins anew");
    }
}
