//! For how long silence is borne, by this side and, as follows from that, by the server's.
//!
//! Invariant: the server gives the locks of a silent client to the next only after that client has told its holders.

use crate::pg::session::wire::Patience;
use std::time::Duration;

/// The greatest time that Linux lets keepalives wait (`tcp(7)`), in seconds.
const MAX_KEEPALIVE_IDLE: u64 = 32_767;
/// A heartbeat that comes less often would be told to the server by a time that it cannot set.
const MAX_HEARTBEAT: Duration = Duration::from_secs(32_000);
/// With the greatest heartbeat it still leads to times that the server can set.
const MAX_ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// This part of the time for an answer is left for the news to get to whoever holds.
const PART_FOR_NEWS: u32 = 25;
/// How much longer than this side the server waits.
const SERVER_WAITS: Duration = Duration::from_secs(7);
/// How much longer than that the latest sign of life promises that the session is there: with room for the way of a message.
const PROMISE_LASTS: Duration = Duration::from_secs(4);

/// How a session judges silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    heartbeat: Duration,
    answer: Duration,
}

impl Timing {
    /// The server is asked for a sign of life every `heartbeat`, of some hours at the most, and whoever holds a lock there is told
    /// of its silence within `answer_timeout`, of some minutes at the most.
    #[must_use]
    pub fn new(heartbeat: Duration, answer_timeout: Duration) -> Timing {
        let answer = answer_timeout.min(MAX_ANSWER_TIMEOUT) * (PART_FOR_NEWS - 1) / PART_FOR_NEWS;
        Timing { heartbeat: heartbeat.min(MAX_HEARTBEAT), answer }
    }

    /// How long the server may be silent while locks are held before it is asked for a sign of life.
    #[must_use]
    pub fn heartbeat(self) -> Duration {
        self.heartbeat
    }

    pub(in crate::pg) fn patience(self) -> Patience {
        Patience { answer: self.answer, promise: self.told_after() + PROMISE_LASTS }
    }

    /// What the server is told, so that it waits longer: names and values of settings.
    pub(in crate::pg) fn settings(self) -> [(&'static str, String); 4] {
        let idle = (self.told_after().as_secs() + 2).min(MAX_KEEPALIVE_IDLE);
        [
            ("tcp_keepalives_idle", idle.to_string()),
            ("tcp_keepalives_interval", "3".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
            ("tcp_user_timeout", self.idle_limit().as_millis().to_string()),
        ]
    }

    /// For how long a transaction that holds a lock may be idle before the server ends it: longer than it takes until this side has
    /// told the holder that it hears nothing.
    pub(in crate::pg) fn idle_limit(self) -> Duration {
        self.told_after() + SERVER_WAITS
    }

    /// The holder hears of a silent network by then.
    fn told_after(self) -> Duration {
        self.heartbeat + self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_gives_up_a_silent_client_after_the_holder_was_told() {
        let greatest = u64::from(u32::MAX >> 1);
        for heartbeat in [100, 3000, 60_000, greatest].map(Duration::from_millis) {
            for answer_timeout in [100, 5000, 600_000, greatest].map(Duration::from_millis) {
                let timing = Timing::new(heartbeat, answer_timeout);
                let told = timing.heartbeat() + timing.patience().answer;
                let settings = timing.settings().map(|(_, value)| value.parse::<u64>().unwrap());
                let [idle, interval, count, user_timeout] = settings;
                let gives_up = Duration::from_secs(idle + interval * count);
                let promise = timing.patience().promise;
                assert!(told < promise && promise < gives_up.min(Duration::from_millis(user_timeout)));
                assert!(promise < timing.idle_limit() && i32::try_from(timing.idle_limit().as_millis()).is_ok());
                assert!(idle <= MAX_KEEPALIVE_IDLE && i32::try_from(user_timeout).is_ok());
            }
        }
    }

    #[test]
    fn whoever_holds_is_told_within_the_time_for_an_answer() {
        let timing = Timing::new(Duration::from_secs(3), Duration::from_secs(5));
        assert_eq!(timing.patience().answer, Duration::from_millis(4800));
    }
}
