//! Waits behind a pooler: when each is looked for again, rarely enough that a thousand processes may wait.

use crate::core::{Key, Mode, SessionId};
use foldhash::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Between two looks for a wait.
const SHORTEST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_millis(3600);
/// A wait is looked for again after this part of its age.
const PART_OF_AGE: u32 = 8;
/// What is due so soon is looked for at once: one look is cheaper than two.
const SOON: Duration = Duration::from_millis(10);
/// A look for more keys would take the server long.
const MOST_KEYS: usize = 512;
/// How long a wait stays in the server's queue, and has a server session meanwhile, where a key is handed on.
const TURN: Duration = Duration::from_millis(200);
/// The same for one that is passed over again and again, by those who stay there for longer; the server would write that it waits
/// after a second (`deadlock_timeout`).
const LONG_TURN: Duration = Duration::from_millis(900);
/// So often a wait is passed over before it stays for longer, and again for each of those behind whom it goes.
const PASSES: u32 = 5;
/// Those who hold the key by direct connections, several or a process that hands it on within itself, never look otherwise than one
/// that holds it all the time. So each wait takes a long turn after so long, or this part of its age, if nobody else does.
const BETWEEN_TURNS: Duration = Duration::from_secs(30);
/// Behind more of them nobody goes.
pub(super) const MOST_BEFORE: usize = 16;

#[derive(Debug)]
struct Wait {
    mode: Mode,
    /// The session that holds the key in the other mode, and must do it.
    home: Option<SessionId>,
    since: Instant,
    next: Instant,
    /// Order of arrival.
    turn: u64,
    stage: Stage,
    is_cancelled: bool,
    /// The server's last word is that somebody has the key.
    is_taken: bool,
    /// Who was seen to have it last.
    holder: Option<u64>,
    passes: Passes,
    /// When it takes a turn though nothing was seen to change.
    next_turn: Instant,
    /// It is the only one in the queue, and left in vain it comes again soon, before those who find none there.
    is_first: bool,
}

/// How often a key has gone to somebody else before the eyes of who waits for it: in all, and in the latest looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passes {
    pub times: u32,
    pub in_a_row: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until the next look.
    Pausing,
    /// A look is under way.
    LookedFor,
    /// A session tries for the key.
    Tried,
}

#[derive(Debug, Default)]
pub(super) struct Waits {
    waits: HashMap<Key, Wait>,
    turns: u64,
}

/// What a request to end a wait has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    Ended,
    /// It is over with the try that is under way.
    Later,
    Unknown,
}

impl Waits {
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    pub fn contains(&self, key: Key) -> bool {
        self.waits.contains_key(&key)
    }

    /// Whether the server has said that the key is taken; `None`: nobody waits for it.
    pub fn is_known_taken(&self, key: Key) -> Option<bool> {
        self.waits.get(&key).map(|wait| wait.is_taken)
    }

    /// `is_taken`: whether the server has said so a moment ago, so that there is nothing to look for yet.
    pub fn add(&mut self, key: Key, mode: Mode, home: Option<SessionId>, is_taken: bool, now: Instant) {
        self.turns += 1;
        let (turn, stage) = (self.turns, Stage::Pausing);
        let next = if is_taken { now + pause(Duration::ZERO, chance()) } else { now };
        let wait = Wait {
            mode,
            home,
            since: now,
            next,
            turn,
            stage,
            is_cancelled: false,
            is_taken,
            holder: None,
            passes: Passes::default(),
            next_turn: now + BETWEEN_TURNS.mul_f64(0.5 + chance()),
            is_first: false,
        };
        self.waits.insert(key, wait);
    }

    /// Takes a wait out; whether it was cancelled.
    pub fn remove(&mut self, key: Key) -> bool {
        self.waits.remove(&key).is_some_and(|wait| wait.is_cancelled)
    }

    pub fn cancel(&mut self, key: Key) -> Cancelled {
        match self.waits.get_mut(&key) {
            None => Cancelled::Unknown,
            Some(wait) if wait.stage == Stage::Tried => {
                wait.is_cancelled = true;
                Cancelled::Later
            }
            Some(_) => {
                self.waits.remove(&key);
                Cancelled::Ended
            }
        }
    }

    /// The wait goes on, if it is not cancelled; whether it is. `is_taken`: whether the server has said that the key is.
    pub fn put_back(&mut self, key: Key, is_taken: bool, now: Instant) -> bool {
        let Some(wait) = self.waits.get_mut(&key) else { return false };
        wait.stage = Stage::Pausing;
        wait.is_taken = is_taken;
        let age =
            if std::mem::take(&mut wait.is_first) { Duration::ZERO } else { now.saturating_duration_since(wait.since) };
        wait.next = now + pause(age, chance());
        wait.is_cancelled
    }

    /// Takes note of who has the key; how often it has gone to another one than was seen before.
    pub fn see_holder(&mut self, key: Key, holder: u64) -> Passes {
        let Some(wait) = self.waits.get_mut(&key) else { return Passes::default() };
        if wait.holder.replace(holder).is_some_and(|last| last != holder) {
            wait.passes.times += 1;
            wait.passes.in_a_row += 1;
        } else {
            wait.passes.in_a_row = 0;
        }
        wait.passes
    }

    /// For how long to wait in the server's queue for a key that `holder` has and so many wait for there, if at all.
    ///
    /// Where others hand a key on among themselves none of them is ever seen to leave it. One who waits in the queue gets it with
    /// the next end of a transaction; more of them would be in the way of others. But who is passed over again and again, as the
    /// queue is never empty, goes behind them.
    pub fn turn(&mut self, key: Key, holder: u64, awaited: usize, now: Instant) -> Option<Duration> {
        let passes = self.see_holder(key, holder);
        let wait = self.waits.get_mut(&key)?;
        let most_before = usize::try_from(passes.times / PASSES).unwrap_or(usize::MAX).min(MOST_BEFORE);
        let is_passed_over = passes.in_a_row > 0 && awaited <= most_before;
        let is_due = wait.next_turn <= now && awaited == 0;
        if !is_passed_over && !is_due {
            return None;
        }
        let between = BETWEEN_TURNS.max(now.saturating_duration_since(wait.since) / PART_OF_AGE);
        wait.next_turn = now + between.mul_f64(0.5 + chance());
        let is_old = passes.times >= PASSES;
        wait.is_first = is_passed_over && is_old && awaited == 0;
        Some(if is_due || is_old { LONG_TURN } else { TURN })
    }

    /// A session tries for the key from now on.
    pub fn is_tried(&mut self, key: Key) {
        if let Some(wait) = self.waits.get_mut(&key) {
            wait.stage = Stage::Tried;
        }
    }

    pub fn is_looked_for(&self, key: Key) -> bool {
        self.waits.get(&key).is_some_and(|wait| wait.stage == Stage::LookedFor)
    }

    /// The keys for which a look is under way.
    pub fn looked_for(&self) -> Vec<Key> {
        let looked_for = self.waits.iter().filter(|(_, wait)| wait.stage == Stage::LookedFor);
        looked_for.map(|(&key, _)| key).collect()
    }

    /// All keys that somebody waits for.
    pub fn keys(&self) -> Vec<Key> {
        self.waits.keys().copied().collect()
    }

    /// Whether there is something to look for now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.waits.values().any(|wait| wait.home.is_none() && wait.is_due(now))
    }

    /// What to look for now, the oldest first; a look is under way for it from here on.
    pub fn take_due(&mut self, now: Instant) -> Vec<(Key, Mode)> {
        let due = self.waits.iter_mut().filter(|(_, wait)| wait.home.is_none() && wait.is_due(now + SOON));
        let mut due: Vec<(&Key, &mut Wait)> = due.collect();
        due.sort_unstable_by_key(|(_, wait)| wait.turn);
        due.truncate(MOST_KEYS);
        due.into_iter()
            .map(|(&key, wait)| {
                wait.stage = Stage::LookedFor;
                (key, wait.mode)
            })
            .collect()
    }

    /// What the sessions are to try now that hold the keys already; they do from here on.
    pub fn take_due_upgrades(&mut self, now: Instant) -> Vec<(Key, Mode, SessionId)> {
        let due = self.waits.iter_mut().filter(|(_, wait)| wait.is_due(now));
        due.filter_map(|(&key, wait)| {
            let home = wait.home?;
            wait.stage = Stage::Tried;
            Some((key, wait.mode, home))
        })
        .collect()
    }

    /// How long it takes until something is due, as far as that is known.
    pub fn pause(&self, now: Instant) -> Duration {
        let next = self.waits.values().filter(|wait| wait.stage == Stage::Pausing).map(|wait| wait.next).min();
        next.map_or(LONGEST, |next| next.saturating_duration_since(now)).max(SOON)
    }
}

impl Wait {
    fn is_due(&self, now: Instant) -> bool {
        self.stage == Stage::Pausing && self.next <= now
    }
}

/// How long to pause at this age; `chance` from 0 to 1, so that those who look together do not go on to.
fn pause(age: Duration, chance: f64) -> Duration {
    (age / PART_OF_AGE).clamp(SHORTEST, LONGEST).mul_f64(0.5 + chance)
}

fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::Pair(1, 2);

    #[test]
    fn looks_are_rarer_with_age_and_not_all_at_once() {
        assert_eq!(pause(Duration::ZERO, 0.5), SHORTEST);
        assert_eq!(pause(Duration::from_secs(8), 0.5), Duration::from_secs(1));
        assert_eq!(pause(Duration::from_secs(3600), 0.0), LONGEST / 2);
        assert_eq!(pause(Duration::from_secs(3600), 1.0), LONGEST * 3 / 2);
        let chances: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().any(|&chance| chance < 0.3) && chances.iter().any(|&chance| chance > 0.7));
    }

    #[test]
    fn the_first_look_is_at_once_and_takes_what_is_due_soon_in_the_order_of_arrival() {
        let now = Instant::now();
        let mut waits = Waits::default();
        for low in 0..600 {
            waits.add(Key::Pair(0, low), Mode::Exclusive, None, false, now);
        }
        assert!(waits.is_due(now));
        let due = waits.take_due(now);
        assert_eq!(due.len(), MOST_KEYS);
        assert!(due.iter().zip(0..).all(|(&(key, _), low)| key == Key::Pair(0, low)));
        assert_eq!(waits.looked_for().len(), MOST_KEYS);
        assert_eq!(waits.take_due(now).len(), 600 - MOST_KEYS);
        assert!(!waits.is_due(now));
    }

    #[test]
    fn a_wait_is_cancelled_at_once_unless_somebody_tries() {
        let now = Instant::now();
        let mut waits = Waits::default();
        assert_eq!(waits.cancel(KEY), Cancelled::Unknown);
        waits.add(KEY, Mode::Shared, None, false, now);
        waits.take_due(now);
        assert_eq!(waits.cancel(KEY), Cancelled::Ended);
        assert!(!waits.is_looked_for(KEY));
        waits.add(KEY, Mode::Shared, None, false, now);
        waits.is_tried(KEY);
        assert_eq!(waits.cancel(KEY), Cancelled::Later);
        assert!(waits.put_back(KEY, true, now) && waits.remove(KEY));
    }

    #[test]
    fn what_is_known_is_what_the_server_has_said_last() {
        let now = Instant::now();
        let mut waits = Waits::default();
        waits.add(KEY, Mode::Exclusive, None, false, now);
        assert_eq!(waits.is_known_taken(KEY), Some(false));
        waits.put_back(KEY, true, now);
        assert_eq!(waits.is_known_taken(KEY), Some(true));
        waits.put_back(KEY, false, now);
        assert_eq!(waits.is_known_taken(KEY), Some(false));
    }

    #[test]
    fn who_is_passed_over_goes_behind_others_and_stays_for_longer() {
        let now = Instant::now();
        let mut waits = Waits::default();
        waits.add(KEY, Mode::Exclusive, None, true, now);
        assert_eq!(waits.turn(KEY, 0, 0, now), None, "nobody else has had it yet");
        let mut turns =
            |from: u64, to: u64, awaited| (from..to).map(|by| waits.turn(KEY, by, awaited, now)).collect::<Vec<_>>();
        assert_eq!(turns(1, 5, 0), [Some(TURN); 4]);
        assert_eq!(turns(5, 6, 0), [Some(LONG_TURN)]);
        assert_eq!(turns(6, 15, 3), [None; 9], "three are before it");
        assert_eq!(turns(15, 17, 3), [Some(LONG_TURN); 2]);
        assert_eq!(turns(16, 17, 0), [None], "it has not changed hands");
        assert!(turns(17, 200, MOST_BEFORE + 1).iter().all(Option::is_none));
        assert_eq!(turns(200, 201, MOST_BEFORE), [Some(LONG_TURN)]);
    }

    #[test]
    fn each_takes_a_turn_once_in_a_while_and_more_seldom_with_age() {
        let since = Instant::now();
        let mut waits = Waits::default();
        waits.add(KEY, Mode::Exclusive, None, true, since);
        let mut turns = |from: u64, to: u64, awaited| {
            let at = (from..to).map(|second| since + Duration::from_secs(second));
            at.filter(|&now| waits.turn(KEY, 1, awaited, now).is_some()).count()
        };
        assert_eq!(turns(0, 15, 0), 0);
        assert!((3..=20).contains(&turns(15, 300, 0)));
        assert_eq!(turns(300, 600, 1), 0, "somebody is there");
        assert!((2..=10).contains(&turns(3600, 5400, 0)));
    }

    #[test]
    fn who_was_alone_in_the_queue_comes_again_soon() {
        let now = Instant::now();
        let mut waits = Waits::default();
        waits.add(KEY, Mode::Exclusive, None, true, now);
        let late = now + Duration::from_secs(8);
        let mut pause_after = |awaited| {
            (0..20).for_each(|by| {
                let _ = waits.turn(KEY, by, awaited, now);
            });
            waits.put_back(KEY, true, late);
            waits.pause(late)
        };
        assert!(pause_after(0) < 2 * SHORTEST);
        assert!(pause_after(1) >= Duration::from_millis(500));
    }

    #[test]
    fn upgrades_are_tried_where_the_key_is_held() {
        let now = Instant::now();
        let mut waits = Waits::default();
        waits.add(KEY, Mode::Exclusive, Some(SessionId(7)), false, now);
        assert!(!waits.is_due(now) && waits.take_due(now).is_empty());
        assert_eq!(waits.take_due_upgrades(now), [(KEY, Mode::Exclusive, SessionId(7))]);
        assert!(waits.take_due_upgrades(now).is_empty());
    }
}
