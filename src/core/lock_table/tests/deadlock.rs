//! Owners that wait for each other.

use super::script::{A, B, C, HOME, S, TENURE, X};
use super::{find_deadlock, request_id};
use crate::core::lock_table::Outcome::{Deadlock, Granted};
use crate::core::lock_table::{Admission, Link, LockTable, Operation, Request, Rules, Ticks};
use crate::core::{Key, Mode, OwnerId, RequestId, Step};

const AGE: Ticks = 1000;
const ONE: Key = Key::Pair(0, 1);
const TWO: Key = Key::Pair(0, 2);
const THREE: Key = Key::Pair(0, 3);
const ELSEWHERE: Key = Key::Pair(0, 4);

/// A table whose server grants everything but one key, which others hold.
struct Play {
    table: LockTable,
    now: Ticks,
    numbers: u64,
}

impl Play {
    fn new() -> Play {
        Play { table: LockTable::new(Rules { tenure: TENURE, requeues: true }), now: 0, numbers: 0 }
    }

    fn lock(&mut self, owner: OwnerId, key: Key, mode: Mode) -> RequestId {
        self.numbers += 1;
        self.now += 1;
        let id = request_id(self.numbers);
        let request = Request { id, owner, key, mode, patient: true, scoped: false };
        assert_ne!(self.table.acquire(&request, self.now), Admission::Denied);
        for operation in std::mem::take(&mut self.table.effects().operations) {
            match operation {
                Operation::Do { step: Step::Try { key, .. }, .. } if key == ELSEWHERE => {
                    self.table.denied(key, self.now)
                }
                Operation::Do { step: Step::Try { key, .. }, .. } => self.table.acquired(key, HOME, self.now),
                other => panic!("unforeseen: {other:?}"),
            }
        }
        self.table.effects().operations.clear();
        id
    }

    fn deadlock(&mut self) -> Option<RequestId> {
        find_deadlock(&mut self.table, AGE, self.now + AGE)
    }

    fn links(&self) -> Vec<(Link, RequestId)> {
        self.table.links(AGE, self.now + AGE).into_iter().map(|(link, (youngest, _))| (link, youngest)).collect()
    }
}

fn both_modes(held: (Key, Mode), youngest: RequestId) -> Vec<(Link, RequestId)> {
    [X, S].map(|mode| (Link { held: Some(held), in_the_way: (ELSEWHERE, mode) }, youngest)).into()
}

#[test]
fn a_ring_of_two() {
    let mut play = Play::new();
    play.lock(A, ONE, X);
    play.lock(B, TWO, X);
    let of_a = play.lock(A, TWO, X);
    assert_eq!(play.deadlock(), None);
    let of_b = play.lock(B, ONE, S);
    assert_eq!(play.deadlock(), Some(of_b), "the youngest");
    assert_eq!(find_deadlock(&mut play.table, AGE, play.now + AGE - 1), None, "not before its time");
    play.table.effects().outcomes.clear();
    play.table.refuse(of_b, play.now);
    assert_eq!(play.table.effects().outcomes, [(of_b, Deadlock)]);
    assert!(play.table.knows(of_a) && play.deadlock().is_none());
}

#[test]
fn a_ring_of_three_and_those_behind_it() {
    let mut play = Play::new();
    play.lock(A, ONE, X);
    play.lock(B, TWO, S);
    play.lock(C, THREE, X);
    play.lock(A, TWO, X);
    let youngest = play.lock(C, ONE, S);
    // Later, but only behind the others.
    play.lock(OwnerId::new(9), ONE, X);
    assert_eq!(play.deadlock(), None);
    let of_b = play.lock(B, THREE, X);
    assert_eq!(play.deadlock(), Some(of_b));
    assert_ne!(play.deadlock(), Some(youngest));
}

#[test]
fn who_waits_in_line_waits_for_those_before() {
    let mut play = Play::new();
    play.lock(A, ONE, S);
    play.lock(B, TWO, X);
    // C wants what A holds; B stands behind C; A wants what B holds.
    play.lock(C, ONE, X);
    play.lock(B, ONE, S);
    let of_a = play.lock(A, TWO, X);
    assert_eq!(play.deadlock(), Some(of_a));
}

#[test]
fn a_wait_that_is_older_than_the_hold_blocks_nothing() {
    let mut play = Play::new();
    play.lock(A, ONE, X);
    // B stands by for one lock, and has since taken another for some work.
    play.lock(B, ONE, X);
    play.lock(B, TWO, X);
    play.lock(A, TWO, X);
    assert_eq!(play.deadlock(), None);
}

#[test]
fn holds_that_go_together_make_no_deadlock() {
    let mut play = Play::new();
    play.lock(A, ONE, S);
    play.lock(B, TWO, S);
    play.lock(A, TWO, S);
    play.lock(B, ONE, S);
    assert_eq!(play.deadlock(), None);
}

#[test]
fn links_lead_from_what_is_held_to_what_is_awaited_on_the_server() {
    let mut play = Play::new();
    play.lock(A, ONE, X);
    assert_eq!(play.links(), []);
    let wait = play.lock(A, ELSEWHERE, S);
    assert_eq!(
        play.links(),
        [(Link { held: Some((ONE, X)), in_the_way: (ELSEWHERE, X) }, wait)],
        "readers are not in its way"
    );
}

#[test]
fn links_begin_at_those_who_wait_in_this_process() {
    let mut play = Play::new();
    play.lock(A, ONE, X);
    play.lock(B, TWO, X);
    play.lock(C, THREE, S);
    play.lock(A, ELSEWHERE, X);
    // B waits for A, and C for B.
    let of_b = play.lock(B, ONE, X);
    let of_c = play.lock(C, TWO, X);
    let links = play.links();
    assert_eq!(
        links.iter().filter(|(link, _)| link.held == Some((TWO, X))).copied().collect::<Vec<_>>(),
        both_modes((TWO, X), of_b)
    );
    assert_eq!(
        links.iter().filter(|(link, _)| link.held == Some((THREE, S))).copied().collect::<Vec<_>>(),
        both_modes((THREE, S), of_c)
    );
    assert_eq!(links.len(), 6);
}

#[test]
fn links_begin_at_those_in_line() {
    let mut play = Play::new();
    play.lock(A, ELSEWHERE, X);
    play.lock(B, ONE, X);
    let of_b = play.lock(B, ELSEWHERE, X);
    assert_eq!(play.links(), both_modes((ONE, X), of_b));
}

#[test]
fn a_refusal_that_comes_too_late_changes_nothing() {
    let mut play = Play::new();
    let hold = play.lock(A, ONE, X);
    assert_eq!(play.table.effects().outcomes, [(hold, Granted)]);
    play.table.refuse(hold, play.now);
    assert_eq!(play.table.effects().outcomes, [(hold, Granted)]);
    assert!(play.table.knows(hold));
}
