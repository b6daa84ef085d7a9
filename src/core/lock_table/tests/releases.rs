//! Giving holds up, by name and without.

use super::request_id;
use super::script::{
    release_of, try_for, try_once, try_upgrade, wait_for, wait_for_upgrade, Script, A, B, C, CANCEL_WAIT, PROBE, S,
    TENURE, X,
};
use crate::core::lock_table::Outcome::{Denied, Failed, Granted, NotHeld, Released};
use crate::core::lock_table::Release;

#[test]
fn what_is_not_held_cannot_be_released() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    let ticket = request_id(99);
    assert_eq!(s.table.release(b, ticket, s.now), Release::NotHeld, "it only waits");
    s.release(a);
    assert_eq!(s.table.release(a, ticket, s.now), Release::NotHeld, "it was released");
    assert_eq!(s.release_latest(A, X).1, Release::NotHeld);
    assert_eq!(s.release_latest(B, S).1, Release::NotHeld, "held in the other mode");
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn a_release_while_an_upgrade_is_awaited_is_confirmed_later() {
    let (mut s, shared) = Script::with_hold(A, S);
    let upgrade = s.pending(A, X);
    s.denied();
    s.brings(&[], &[try_upgrade(true), wait_for_upgrade()]);
    s.cancel(upgrade);
    let ticket = s.release_pending(shared);
    s.brings(&[], &[CANCEL_WAIT]);
    s.wait_ended();
    s.brings(&[], &[release_of(&[S])]);
    s.ends(ticket, shared);
}

#[test]
fn the_latest_is_released_and_scoped_holds_last() {
    let (mut s, first) = Script::with_hold(A, X);
    let (scoped, _) = s.ask(A, X, true, true);
    let last = s.granted(A, X);
    assert_eq!(s.release_latest(A, X).1, Release::Done(last));
    assert_eq!(s.release_latest(A, X).1, Release::Done(first));
    let ticket = s.release_latest_pending(A, X);
    s.brings(&[], &[release_of(&[X])]);
    s.ends(ticket, scoped);
}

#[test]
fn a_release_of_what_is_being_tried_waits_for_the_answer() {
    let mut s = Script::new();
    let lock = s.pending(A, X);
    let release = s.release_latest_pending(A, X);
    s.acquired();
    s.brings(&[(lock, Granted)], &[try_for(X), release_of(&[X])]);
    s.ends(release, lock);
}

#[test]
fn lock_unlock_lock_unlock_without_a_pause() {
    let mut s = Script::new();
    let first = s.pending(A, X);
    let first_release = s.release_latest_pending(A, X);
    let second = s.pending(A, X);
    let second_release = s.release_latest_pending(A, X);
    s.acquired();
    s.brings(&[(first, Granted), (second, Granted)], &[try_for(X), release_of(&[X])]);
    s.released();
    s.brings(&[(first_release, Released { hold: second }), (second_release, Released { hold: first })], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn a_release_without_a_pause_among_other_owners() {
    let mut s = Script::new();
    let a = s.pending(A, X);
    let a_release = s.release_latest_pending(A, X);
    let b = s.pending(B, X);
    let b_release = s.release_latest_pending(B, X);
    assert_eq!(s.release_latest(C, X).1, Release::NotHeld);
    s.acquired();
    s.brings(&[(a, Granted), (b, Granted)], &[try_for(X), release_of(&[X])]);
    s.released();
    s.brings(&[(a_release, Released { hold: a }), (b_release, Released { hold: b })], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn a_release_is_told_when_the_try_fails() {
    let mut s = Script::new();
    let a = s.try_pending(A, X);
    let release = s.release_latest_pending(A, X);
    s.denied();
    s.brings(&[(a, Denied), (release, NotHeld)], &[try_once(X)]);
    let b = s.pending(B, X);
    let release = s.release_latest_pending(B, X);
    s.acquire_failed();
    s.brings(&[(b, Failed), (release, NotHeld)], &[try_for(X)]);
    assert!(s.table.is_empty());
}

#[test]
fn a_release_never_waits_behind_a_wait() {
    let mut s = Script::new();
    let _lock = s.pending(A, X);
    let release = s.release_latest_pending(A, X);
    s.denied();
    s.brings(&[(release, NotHeld)], &[try_for(X), wait_for(X)]);
    assert_eq!(s.release_latest(A, X).1, Release::NotHeld);
}

#[test]
fn a_release_never_waits_for_another_owner() {
    let (mut s, _) = Script::with_hold(A, X);
    let _b = s.pending(B, X);
    assert_eq!(s.release_latest(B, X).1, Release::NotHeld);
}

#[test]
fn a_release_waits_for_whatever_ends_soon() {
    // Behind another release.
    let (mut s, a) = Script::with_hold(A, X);
    let a_release = s.release_pending(a);
    let b = s.pending(B, X);
    let b_release = s.release_latest_pending(B, X);
    s.brings(&[], &[release_of(&[X])]);
    s.released();
    s.brings(&[(a_release, Released { hold: a })], &[try_for(X)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[release_of(&[X])]);
    s.ends(b_release, b);

    // Behind a look at the server's queue.
    let (mut s, _) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    let b_release = s.release_latest_pending(B, S);
    s.probed(false);
    s.brings(&[(b, Granted), (b_release, Released { hold: b })], &[PROBE]);

    // Behind a wait that is being ended.
    let (mut s, a) = Script::with_wait(A, X);
    s.cancel(a);
    let b = s.pending(B, X);
    let b_release = s.release_latest_pending(B, X);
    s.acquired();
    s.brings(&[(b, Granted)], &[CANCEL_WAIT, release_of(&[X])]);
    s.ends(b_release, b);
}
