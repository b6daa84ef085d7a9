//! Fenced holds: the key of their own goes first, whatever ends them, and only theirs.

use super::script::{downgrade, release_of, requeue, try_upgrade, Script, A, B, HOME, KEY, S, TENURE, X};
use crate::core::lock_table::Operation;
use crate::core::lock_table::Outcome::{Granted, Lost, Released};
use crate::core::Key;

const OWN: Key = Key::Single(7);
const OTHER: Key = Key::Single(8);

fn end_fence(own_key: Key) -> Operation {
    Operation::EndFence { key: KEY, own_key, home: HOME }
}

#[test]
fn the_own_key_goes_before_the_key() {
    let (mut s, a) = Script::with_hold(A, X);
    assert!(s.table.fence(a, OWN));
    let ticket = s.release_pending(a);
    s.brings(&[], &[end_fence(OWN), release_of(&[X])]);
    s.ends(ticket, a);
    assert!(!s.table.fence(a, OWN), "no hold any more");
}

#[test]
fn the_own_key_goes_when_the_hold_is_handed_on_in_the_process() {
    let (mut s, a) = Script::with_hold(A, X);
    s.table.fence(a, OWN);
    let b = s.pending(B, X);
    assert!(!s.table.fence(b, OTHER), "it only waits");
    s.release(a);
    s.brings(&[(b, Granted)], &[end_fence(OWN)]);
    // Behind other processes, once the time for that is over.
    s.table.fence(b, OTHER);
    let again = s.pending(A, X);
    s.now += TENURE + 1;
    s.release(b);
    s.brings(&[], &[end_fence(OTHER), requeue(X, X, true)]);
    s.acquired();
    s.brings(&[(again, Granted)], &[]);
}

#[test]
fn whatever_ends_the_hold_ends_the_fence() {
    let (mut s, a) = Script::with_hold(A, X);
    s.table.fence(a, OWN);
    s.cancel(a);
    s.brings(&[], &[end_fence(OWN), release_of(&[X])]);

    let (mut s, a) = Script::with_hold(A, X);
    s.table.fence(a, OWN);
    let (ticket, _) = s.close(A);
    s.brings(&[], &[end_fence(OWN), release_of(&[X])]);
    s.ends(ticket, a);

    let (mut s, a) = Script::with_hold(A, X);
    s.table.fence(a, OWN);
    let ticket = s.release_latest_pending(A, X);
    s.brings(&[], &[end_fence(OWN), release_of(&[X])]);
    s.ends(ticket, a);

    let (mut s, a) = Script::with_hold(A, X);
    s.table.fence(a, OWN);
    s.lose_session();
    s.brings(&[(a, Lost)], &[]);
    assert!(s.table.is_empty() && !s.table.fence(a, OWN));
}

#[test]
fn holds_of_one_owner_have_fences_of_their_own() {
    let (mut s, first) = Script::with_hold(A, X);
    s.table.fence(first, OWN);
    let second = s.granted(A, S);
    s.table.fence(second, OTHER);
    s.release(second);
    s.brings(&[], &[end_fence(OTHER)]);
    let third = s.granted(A, S);
    let ticket = s.release_pending(first);
    s.brings(&[], &[end_fence(OWN), downgrade(true)]);
    s.downgraded(true);
    s.brings(&[(ticket, Released { hold: first })], &[]);
    let ticket = s.release_pending(third);
    s.brings(&[], &[release_of(&[S])]);
    s.ends(ticket, third);
}

#[test]
fn a_complete_fence_covers_holds_of_its_owner_that_are_no_stronger() {
    let (mut s, outer) = Script::with_hold(A, X);
    let inner = s.granted(A, X);
    let weaker = s.granted(A, S);
    assert!(!s.table.is_covered(inner), "nobody has waited");
    s.table.fence(outer, OWN);
    assert!(!s.table.is_covered(inner), "nobody has waited yet");
    s.table.complete_fence(outer);
    assert!(s.table.is_covered(inner) && s.table.is_covered(weaker));
    s.release(outer);
    assert!(!s.table.is_covered(inner), "it has ended");

    let (mut s, outer) = Script::with_hold(A, S);
    s.table.fence(outer, OWN);
    s.table.complete_fence(outer);
    let same = s.granted(A, S);
    let stranger = s.granted(B, S);
    assert!(s.table.is_covered(same) && !s.table.is_covered(stranger));
    s.release(stranger);
    s.brings(&[], &[]);
    let upgrade = s.pending(A, X);
    s.acquired();
    s.brings(&[(upgrade, Granted)], &[try_upgrade(true)]);
    assert!(!s.table.is_covered(upgrade), "it excludes more");
}
