//! Waits that are looked for through a pooler, while locks are taken and held by direct sessions. It takes no lock itself: a wait
//! whose key looks free goes back to the direct sessions, and comes again if somebody else was faster.
//!
//! A key that is handed on within a process never looks free. So each wait goes back once in a while, to take a turn in the
//! server's queue, unless somebody else waits there; and sooner, whoever waits there, where it goes from one to another.
//!
//! Invariant: a wait that was taken over is here until it is given back, cancelled or failed.

use super::waits::{Cancelled, Waits, MOST_BEFORE};
use crate::core::{Key, Mode};
use crate::manager::backoff::with_jitter;
use crate::manager::wait::Wait;
use crate::pg::Seen;
use foldhash::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// For so long nobody takes a turn in the server's queue by whom it was left in vain.
const BETWEEN_TURNS: Duration = Duration::from_secs(30);
/// For so long whoever is passed over stays with the direct sessions, for one turn in the queue after the other.
const STAY: Duration = Duration::from_secs(10);
/// A key that was another's at each of so many looks in a row is handed on all the time.
const PASSES_IN_A_ROW: u32 = 3;
/// For so long a pooler that has worked may be out of reach before waits go by direct sessions.
const MOST_FAILING: Duration = Duration::from_secs(30);
/// For so long they do then.
const REST: Duration = Duration::from_secs(30);
/// For so long the session is kept when nobody waits.
const KEPT: Duration = Duration::from_secs(10);

pub(in crate::manager) struct Looks {
    waits: Waits,
    /// What they are to the direct sessions, and since when they are here.
    waiting: HashMap<Key, (Wait, Instant)>,
    idle_since: Instant,
    /// Tells the task that looks of changes; whether that runs, and whether it is to be started.
    pub changed: Arc<Notify>,
    is_running: bool,
    is_to_run: bool,
    pub is_open: bool,
    /// Whether the pooler is known to lead to the database of the direct sessions.
    pub is_checked: bool,
    failing_since: Option<Instant>,
}

/// What to do next.
pub(super) enum Next {
    Look(Vec<(Key, Mode)>),
    Pause(Duration),
    /// Nobody waits, and nobody has for long.
    End,
}

/// What becomes of the waits when a look has failed.
pub(in crate::manager) enum Failing {
    /// They are looked for again.
    Passing,
    /// They go by direct sessions, and for so long those that come after them.
    Lasting(Vec<Wait>, Duration),
}

impl Looks {
    pub fn new() -> Looks {
        Looks {
            waits: Waits::default(),
            waiting: HashMap::default(),
            idle_since: Instant::now(),
            changed: Arc::new(Notify::new()),
            is_running: false,
            is_to_run: false,
            is_open: false,
            is_checked: false,
            failing_since: None,
        }
    }

    /// Takes over a wait, of which the server has just said that its key is taken.
    pub fn add(&mut self, wait: Wait, now: Instant) {
        self.waits.add(wait.key, wait.mode, None, true, wait.since);
        self.waits.put_back(wait.key, true, now);
        self.waiting.insert(wait.key, (wait, now));
        self.is_to_run |= !std::mem::replace(&mut self.is_running, true);
        self.changed.notify_one();
    }

    /// Ends a wait; whether it was here.
    pub fn cancel(&mut self, key: Key) -> bool {
        self.take(key).is_some() && self.waits.cancel(key) == Cancelled::Ended
    }

    fn take(&mut self, key: Key) -> Option<Wait> {
        let (wait, _) = self.waiting.remove(&key)?;
        if self.waiting.is_empty() {
            self.idle_since = Instant::now();
        }
        Some(Wait { direct_since: Instant::now(), ..wait })
    }

    fn give_back(&mut self, key: Key) -> Option<Wait> {
        self.waits.remove(key);
        self.take(key)
    }

    pub fn give_all_back(&mut self) -> Vec<Wait> {
        self.waits.keys().into_iter().filter_map(|key| self.give_back(key)).collect()
    }

    /// Whether the task is to be started that looks.
    pub fn take_to_run(&mut self) -> bool {
        std::mem::take(&mut self.is_to_run)
    }

    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// The task is over, or could not be started; whether it may be: nobody waits.
    pub fn end(&mut self) -> bool {
        self.is_running = !self.waiting.is_empty();
        !self.is_running
    }

    /// `is_needed`: whether somebody may come to wait.
    pub(super) fn next(&mut self, is_needed: bool, now: Instant) -> Next {
        if self.waiting.is_empty() {
            let idle = now.saturating_duration_since(self.idle_since);
            return if is_needed && idle < KEPT { Next::Pause(KEPT - idle) } else { Next::End };
        }
        if self.waits.is_due(now) {
            Next::Look(self.waits.take_due(now))
        } else {
            Next::Pause(self.waits.pause(now))
        }
    }

    /// Takes note of what a look has found, and gives back what is to be tried, and what may be `tied` into a ring of waits, which
    /// others could not see here.
    pub fn looked(
        &mut self,
        keys: &[(Key, Mode)],
        seen: &[Seen],
        now: Instant,
        is_tied: impl Fn(Key) -> bool,
    ) -> Vec<Wait> {
        self.failing_since = None;
        let mut given_back = Vec::new();
        for (&(key, _), &seen) in keys.iter().zip(seen) {
            if !self.waits.is_looked_for(key) {
                // It has been cancelled meanwhile.
                continue;
            }
            let has_come = self.waiting.get(&key).map_or(now, |&(_, since)| since);
            let (is_worth_it, stay) = match seen {
                Seen::Free => (true, Duration::ZERO),
                Seen::Taken { by, awaited } => {
                    let is_passed_over = self.waits.see_holder(key, by).in_a_row >= PASSES_IN_A_ROW;
                    let is_long_here = now.saturating_duration_since(has_come) >= BETWEEN_TURNS;
                    (
                        (is_long_here && awaited == 0) || (is_passed_over && awaited <= MOST_BEFORE),
                        if is_passed_over { STAY } else { Duration::ZERO },
                    )
                }
            };
            if is_worth_it || is_tied(key) {
                let wait = self.give_back(key);
                given_back.extend(wait.map(|wait| Wait { direct_since: wait.direct_since + stay, ..wait }));
            } else {
                self.waits.put_back(key, true, now);
            }
        }
        given_back
    }

    /// Takes note of a look that could not be made for these keys.
    pub fn failed(&mut self, keys: &[(Key, Mode)], now: Instant) -> Failing {
        let since = *self.failing_since.get_or_insert(now);
        if self.is_checked && now.saturating_duration_since(since) < MOST_FAILING {
            for &(key, _) in keys {
                if self.waits.is_looked_for(key) {
                    self.waits.put_back(key, true, now);
                }
            }
            return Failing::Passing;
        }
        self.failing_since = None;
        Failing::Lasting(self.give_all_back(), with_jitter(REST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::Pair(1, 2);
    const TAKEN: Seen = Seen::Taken { by: 1, awaited: 0 };
    const AWAITED: Seen = Seen::Taken { by: 1, awaited: 1 };

    /// Has a look made once one is due, by this time at the latest.
    fn look(looks: &mut Looks, now: Instant, seen: Seen) -> Vec<Key> {
        let Next::Look(keys) = looks.next(true, now) else { panic!("nothing is due") };
        looks.looked(&keys, &vec![seen; keys.len()], now, |_| false).iter().map(|wait| wait.key).collect()
    }

    fn waiting(now: Instant) -> Looks {
        let mut looks = Looks::new();
        looks.add(Wait::new(KEY, Mode::Exclusive, now), now);
        looks
    }

    #[test]
    fn a_key_that_looks_free_goes_back_and_one_that_is_taken_stays() {
        let now = Instant::now();
        let mut looks = waiting(now);
        assert!(looks.take_to_run() && !looks.take_to_run());
        assert!(matches!(looks.next(true, now), Next::Pause(_)));
        let second = Duration::from_secs(1);
        assert!(look(&mut looks, now + second, TAKEN).is_empty());
        assert_eq!(look(&mut looks, now + 2 * second, Seen::Free), [KEY]);
        assert!(matches!(looks.next(false, now), Next::End) && looks.end());
    }

    #[test]
    fn each_takes_a_turn_in_the_queue_once_in_a_while_unless_somebody_is_there() {
        let now = Instant::now();
        let mut looks = waiting(now);
        assert!(look(&mut looks, now + BETWEEN_TURNS, AWAITED).is_empty());
        assert_eq!(look(&mut looks, now + 2 * BETWEEN_TURNS, TAKEN), [KEY]);
    }

    #[test]
    fn who_is_passed_over_goes_back_though_others_wait_there() {
        let now = Instant::now();
        let seen = |holders: [u64; 4], awaited| {
            let mut looks = waiting(now);
            let seconds = [1, 3, 6, 10].map(Duration::from_secs);
            holders
                .map(|by| Seen::Taken { by, awaited })
                .into_iter()
                .zip(seconds)
                .map(|(seen, time)| look(&mut looks, now + time, seen).len())
                .collect::<Vec<_>>()
        };
        assert_eq!(seen([1, 2, 3, 4], 3), [0, 0, 0, 1]);
        assert_eq!(seen([1, 2, 2, 3], 3), [0; 4], "one of them has stayed");
        assert_eq!(seen([1, 2, 3, 4], MOST_BEFORE + 1), [0; 4], "too many are there");
    }

    #[test]
    fn who_holds_something_while_it_waits_goes_back() {
        let now = Instant::now();
        let mut looks = waiting(now);
        let Next::Look(keys) = looks.next(true, now + BETWEEN_TURNS / 2) else { panic!("nothing is due") };
        assert_eq!(looks.looked(&keys, &[TAKEN], now, |key| key == KEY).len(), 1);
    }

    #[test]
    fn a_wait_that_is_cancelled_during_a_look_is_over() {
        let now = Instant::now();
        let mut looks = waiting(now);
        let later = now + Duration::from_secs(1);
        let Next::Look(keys) = looks.next(true, later) else { panic!("nothing is due") };
        assert!(looks.cancel(KEY) && !looks.cancel(KEY));
        assert!(looks.looked(&keys, &[Seen::Free], later, |_| false).is_empty());
    }

    #[test]
    fn a_pooler_that_never_worked_is_left_at_once_and_one_that_did_after_some_time() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut looks = waiting(now);
        let Next::Look(keys) = looks.next(true, later) else { panic!("nothing is due") };
        assert!(matches!(looks.failed(&keys, later), Failing::Lasting(waits, _) if waits.len() == 1));
        looks.is_checked = true;
        looks.add(Wait::new(KEY, Mode::Exclusive, now), now);
        let Next::Look(keys) = looks.next(true, later) else { panic!("nothing is due") };
        assert!(matches!(looks.failed(&keys, later), Failing::Passing));
        let end = later + MOST_FAILING;
        let Next::Look(keys) = looks.next(true, end) else { panic!("nothing is due") };
        assert!(matches!(looks.failed(&keys, end), Failing::Lasting(waits, _) if waits.len() == 1));
    }
}
