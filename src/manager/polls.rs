//! Waits that have no session of their own: when each is tried again, and at what price for the server.
//!
//! Invariant: of each at most one try is under way, and the wait is here until that is answered.

use super::wait::Wait;
use crate::core::{Key, Mode, SessionId};
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How soon a fresh wait is tried again.
pub(super) const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);
/// A wait is tried again after this part of its age.
const PART_OF_AGE: u32 = 100;
/// Tries take at most one part in so many of a server core's time, as the answers tell it; by the core itself it is a quarter more.
const SHARE: u32 = 36;
/// The same where one of them has just been granted: the next key may be released in answer to that, just after a round, and would
/// be found in the one after it.
const SHARE_AFTER_A_GRANT: u32 = 12;
/// How soon a round may follow another one then, and how much of the server's time each grant lets tries take in this way.
const SHORTEST_AFTER_A_GRANT: Duration = Duration::from_millis(3);
const CREDIT_OF_A_GRANT: Duration = Duration::from_millis(2);
/// So many go out at a time, as nothing else passes on the session meanwhile.
const MOST_AT_A_TIME: usize = 512;
/// An upgrade looks after this part of its age whether anybody else holds the key, and at least so often.
const LOOK_PART_OF_AGE: u32 = 10;
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// All of them together look no more often than that: a look goes through all locks of the server, and the session does nothing
/// else meanwhile.
const TIME_BETWEEN_LOOKS: Duration = Duration::from_millis(12);

/// One such wait.
#[derive(Debug)]
struct Poll {
    wait: Wait,
    /// Where it must be tried, as that session holds the key in the other mode.
    home: Option<SessionId>,
    /// When it is tried next; `None` while a try is under way.
    next: Option<Instant>,
    /// When an upgrade looks next whether anybody else holds the key.
    next_look: Instant,
    /// Order of arrival.
    turn: u64,
}

/// What has become of a wait that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// It has ended.
    Ended,
    /// It ends with the try that is under way.
    Later,
    /// It is not here.
    Unknown,
}

/// A wait that is to be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub key: Key,
    pub mode: Mode,
    pub home: Option<SessionId>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Polls {
    polls: HashMap<Key, Poll>,
    /// Those of which no try is under way, by when they are tried next.
    by_time: BTreeSet<(Instant, u64, Key)>,
    /// Those of them that any session may take over, in the order of their coming.
    movable: BTreeMap<u64, Key>,
    turns: u64,
    /// How many must be tried on one session.
    upgrades: u32,
    /// What is left of the latest grant's [`CREDIT_OF_A_GRANT`].
    credit: Duration,
    /// Whether somebody calls [`Polls::due`] from time to time.
    pub is_ticking: bool,
}

impl Polls {
    pub fn is_empty(&self) -> bool {
        self.polls.is_empty()
    }

    pub fn contains(&self, key: Key) -> bool {
        self.polls.contains_key(&key)
    }

    /// Whether somebody must begin to call [`Polls::due`] from time to time, and does so from here on.
    pub fn take_start(&mut self) -> bool {
        !self.is_empty() && !std::mem::replace(&mut self.is_ticking, true)
    }

    /// Whether there is but one, which any session may take over.
    pub fn is_single_movable(&self) -> bool {
        self.polls.len() == 1 && self.movable.len() == 1
    }

    /// How many may be taken over by a session of their own.
    pub fn movable(&self) -> usize {
        self.movable.len()
    }

    pub fn add(&mut self, wait: Wait, home: Option<SessionId>, now: Instant) {
        self.turns += 1;
        let next = now + SHORTEST;
        self.polls.insert(wait.key, Poll { wait, home, next: None, next_look: next, turn: self.turns });
        self.upgrades += u32::from(home.is_some());
        self.schedule(wait.key, next);
    }

    /// A wait as it is now.
    pub fn wait(&self, key: Key) -> Option<Wait> {
        self.polls.get(&key).map(|poll| poll.wait)
    }

    /// Takes out a wait that is over.
    pub fn remove(&mut self, key: Key) -> Option<Wait> {
        self.unschedule(key);
        let poll = self.polls.remove(&key)?;
        self.upgrades -= u32::from(poll.home.is_some());
        Some(poll.wait)
    }

    /// Takes out a wait that a try has ended well.
    pub fn granted(&mut self, key: Key) {
        self.remove(key);
        self.credit = CREDIT_OF_A_GRANT;
    }

    /// Has a wait tried for the first time only then.
    pub fn postpone(&mut self, key: Key, until: Instant) {
        self.unschedule(key);
        self.schedule(key, until);
    }

    /// Takes out the waits that can be tried on this session alone and of which no try is under way.
    pub fn take_of(&mut self, home: SessionId) -> Vec<Wait> {
        self.take(|poll| poll.home == Some(home))
    }

    /// Takes out all waits of which no try is under way.
    pub fn take_all(&mut self) -> Vec<Wait> {
        self.take(|_| true)
    }

    fn take(&mut self, is_meant: impl Fn(&Poll) -> bool) -> Vec<Wait> {
        let meant = self.polls.iter().filter(|(_, poll)| poll.next.is_some() && is_meant(poll));
        let keys: Vec<Key> = meant.map(|(&key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Ends a wait.
    pub fn cancel(&mut self, key: Key) -> Cancelled {
        match self.polls.get_mut(&key) {
            Some(poll) if poll.next.is_none() => {
                poll.wait.is_cancelled = true;
                Cancelled::Later
            }
            Some(_) => {
                self.remove(key);
                Cancelled::Ended
            }
            None => Cancelled::Unknown,
        }
    }

    /// A try has brought nothing: there will be another, unless the wait is to end; whether it is.
    pub fn put_back(&mut self, key: Key, now: Instant) -> bool {
        let Some(poll) = self.polls.get(&key) else { return false };
        if poll.wait.is_cancelled {
            return true;
        }
        self.schedule(key, now + (poll.wait.age(now) / PART_OF_AGE).clamp(SHORTEST, LONGEST));
        false
    }

    /// Whether it is time for an upgrade, of which a try was denied, to look whether anybody else holds the key: behind those
    /// who wait for it a try fails for ever. The wait counts as under way then.
    pub fn looks_now(&mut self, key: Key, now: Instant) -> Option<Mode> {
        let least = TIME_BETWEEN_LOOKS * self.upgrades;
        let poll = self.polls.get_mut(&key)?;
        if poll.home.is_none() || poll.wait.is_cancelled || poll.next_look > now {
            return None;
        }
        poll.next_look = now + (poll.wait.age(now) / LOOK_PART_OF_AGE).clamp(SHORTEST, LONGEST_LOOK).max(least);
        Some(poll.wait.mode)
    }

    /// Takes out the oldest wait that any session may take over.
    pub fn take_oldest(&mut self) -> Option<Wait> {
        let (_, &key) = self.movable.first_key_value()?;
        self.remove(key)
    }

    /// The waits to try now, which count as under way from here on.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        // Those of the next moment as well: one statement is cheaper than two.
        let soon = now + SHORTEST;
        let mut due = Vec::new();
        while let Some(&(_, _, key)) = self.by_time.first().filter(|(next, ..)| *next < soon) {
            if due.len() == MOST_AT_A_TIME {
                break;
            }
            self.unschedule(key);
            let poll = &self.polls[&key];
            due.push(Due { key, mode: poll.wait.mode, home: poll.home });
        }
        due
    }

    /// When to look for due waits again after `tried` were tried.
    pub fn pause(&mut self, tried: usize, now: Instant) -> Duration {
        let (shortest, share) =
            if self.credit.is_zero() { (SHORTEST, SHARE) } else { (SHORTEST_AFTER_A_GRANT, SHARE_AFTER_A_GRANT) };
        let price = if tried > 0 { price(tried) } else { Duration::ZERO };
        self.credit = self.credit.saturating_sub(price);
        let until_due = self.by_time.first().map_or(LONGEST, |(next, ..)| next.saturating_duration_since(now));
        // When those are due again that are being tried is known soon.
        let is_trying = self.polls.len() > self.by_time.len();
        let until_due = if is_trying { until_due.min(shortest) } else { until_due };
        until_due.max(if tried > 0 { price * share } else { shortest }).min(LONGEST.max(price * share))
    }

    fn schedule(&mut self, key: Key, next: Instant) {
        let Some(poll) = self.polls.get_mut(&key) else { return };
        poll.next = Some(next);
        self.by_time.insert((next, poll.turn, key));
        if poll.home.is_none() {
            self.movable.insert(poll.turn, key);
        }
    }

    fn unschedule(&mut self, key: Key) {
        let Some(poll) = self.polls.get_mut(&key) else { return };
        if let Some(next) = poll.next.take() {
            self.by_time.remove(&(next, poll.turn, key));
            self.movable.remove(&poll.turn);
        }
    }
}

/// What a statement of so many tries that fail costs the server, which has done something else since the one before: 180 µs for
/// one, 300 for 64, 760 for 512 on a machine of 2 cores; about a half where one follows the other at once.
fn price(tries: usize) -> Duration {
    Duration::from_micros(120 + tries as u64 * 11 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(polls: &mut Polls, low: i32, since: Instant, now: Instant) {
        polls.add(Wait::new(Key::Pair(0, low), Mode::Exclusive, since), None, now);
    }

    /// How often `count` waits are tried within `time` from this age on, and the price.
    fn tries(count: i32, age: Duration, time: Duration) -> (usize, Duration) {
        let since = Instant::now();
        let begin = since + age;
        let mut polls = Polls::default();
        (0..count).for_each(|low| add(&mut polls, low, since, begin));
        let mut now = begin;
        let (mut rounds, mut cost) = (0, Duration::ZERO);
        while now < begin + time {
            let due = polls.due(now);
            for due in &due {
                assert!(!polls.put_back(due.key, now));
            }
            if !due.is_empty() {
                rounds += 1;
                cost += price(due.len());
            }
            now += polls.pause(due.len(), now);
        }
        (rounds, cost)
    }

    #[test]
    fn fresh_waits_are_tried_often_and_old_ones_four_times_a_second() {
        let second = Duration::from_secs(1);
        assert!(tries(1, Duration::ZERO, second).0 > 80);
        assert!(tries(200, Duration::ZERO, second).0 > 75, "every 12 ms, as that is what they may cost");
        assert_eq!(tries(200, 60 * second, second).0, 4);
    }

    #[test]
    fn tries_under_way_are_soon_looked_after() {
        let begin = Instant::now();
        let mut polls = Polls::default();
        add(&mut polls, 1, begin, begin);
        let now = begin + SHORTEST;
        assert_eq!(polls.due(now).len(), 1);
        assert!(polls.pause(1, now) <= SHORTEST, "{:?}", polls.pause(1, now));
        assert!(!polls.put_back(Key::Pair(0, 1), now));
        assert!(polls.pause(0, now) <= SHORTEST);
    }

    #[test]
    fn they_never_take_more_than_their_share() {
        for count in [1, 10, 100, 1000, 10_000] {
            for seconds in [0, 1, 5, 60] {
                let time = Duration::from_secs(3);
                let (_, cost) = tries(count, Duration::from_secs(seconds), time);
                assert!(cost <= time / SHARE * 11 / 10, "{count} of {seconds} s cost {cost:?} in {time:?}");
            }
        }
    }

    #[test]
    fn after_a_grant_some_rounds_follow_sooner() {
        let begin = Instant::now();
        let mut polls = Polls::default();
        (0..200).for_each(|low| add(&mut polls, low, begin, begin));
        let now = begin + SHORTEST;
        assert_eq!(polls.due(now).len(), 200);
        let usual = polls.pause(200, now);
        polls.granted(Key::Pair(0, 0));
        let sooner: Vec<Duration> =
            (0..20).map(|_| polls.pause(199, now)).take_while(|pause| *pause < usual / 2).collect();
        assert!((2..=10).contains(&sooner.len()), "{sooner:?} and {usual:?}");
        assert!(sooner.iter().all(|pause| *pause >= SHORTEST_AFTER_A_GRANT), "{sooner:?}");
        assert!(polls.pause(199, now) > usual / 2, "the credit is spent");
    }

    #[test]
    fn all_get_their_turn_however_many_they_are() {
        let mut now = Instant::now();
        let mut polls = Polls::default();
        (0..10_000).for_each(|low| add(&mut polls, low, now, now));
        let mut tried = std::collections::HashSet::new();
        for _ in 0..10_000 / MOST_AT_A_TIME + 1 {
            now += Duration::from_millis(15);
            for due in polls.due(now) {
                tried.insert(due.key);
                polls.put_back(due.key, now);
            }
        }
        assert_eq!(tried.len(), 10_000);
    }

    #[test]
    fn what_is_under_way_ends_later_and_is_moved_nowhere() {
        let now = Instant::now();
        let mut polls = Polls::default();
        let [first, second] = [1, 2].map(|key| Wait::new(Key::Single(key), Mode::Shared, now));
        polls.add(first, None, now);
        polls.add(second, None, now);
        assert_eq!(polls.due(now + SHORTEST).len(), 2);
        assert_eq!((polls.movable(), polls.take_oldest()), (0, None));
        assert_eq!(polls.cancel(first.key), Cancelled::Later);
        assert!(polls.put_back(first.key, now));
        assert!(polls.remove(first.key).is_some_and(|wait| wait.is_cancelled));
        assert!(!polls.put_back(second.key, now));
        assert_eq!(polls.take_oldest(), Some(second));
        assert_eq!((polls.cancel(second.key), polls.is_empty()), (Cancelled::Unknown, true));
    }

    #[test]
    fn upgrades_look_seldom_and_go_with_their_session() {
        let begin = Instant::now();
        let home = SessionId(1);
        let mut polls = Polls::default();
        let upgrade = Wait::new(Key::Single(1), Mode::Exclusive, begin);
        polls.add(upgrade, Some(home), begin);
        add(&mut polls, 2, begin, begin);
        assert_eq!(polls.movable(), 1, "an upgrade stays where its key is held");
        let mut looks = 0;
        let mut now = begin;
        while now < begin + Duration::from_secs(10) {
            now += SHORTEST;
            looks += usize::from(polls.looks_now(upgrade.key, now).is_some());
        }
        assert!((40..100).contains(&looks), "{looks} looks in 10 s");
        let many: Vec<Wait> = (10..410).map(|key| Wait::new(Key::Single(key), Mode::Exclusive, now)).collect();
        many.iter().for_each(|&wait| polls.add(wait, Some(home), now));
        let end = now + Duration::from_secs(10);
        let mut looks = vec![0; many.len()];
        while now < end {
            now += SHORTEST;
            let look = |wait: &Wait| u32::from(polls.looks_now(wait.key, now).is_some());
            many.iter().map(look).zip(&mut looks).for_each(|(look, looks)| *looks += look);
        }
        assert!(
            looks.iter().all(|looks| (2..=4).contains(looks)),
            "each gets its turn, and all together do not look often"
        );
        many.iter().for_each(|wait| assert_eq!(polls.remove(wait.key), Some(*wait)));
        assert_eq!(polls.take_of(home), [upgrade]);
        assert_eq!((polls.take_of(home), polls.take_all().len(), polls.is_empty()), (vec![], 1, true));
    }
}
