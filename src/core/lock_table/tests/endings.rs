//! Taking requests back, and closing owners.

use super::request_id;
use super::script::{release_of, try_for, try_once, wait_for, Script, A, B, C, CANCEL_WAIT, S, X};
use crate::core::lock_table::Outcome::{Closed, Denied, Granted, NotHeld, Released};
use crate::core::lock_table::Release;

#[test]
fn cancel_behind_a_hold() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    let c = s.pending(C, X);
    s.cancel(b);
    s.brings(&[], &[]);
    s.release(a);
    s.brings(&[(c, Granted)], &[]);
}

#[test]
fn cancel_of_the_head_lets_the_next_go() {
    let (mut s, _) = Script::with_hold(A, S);
    let b = s.pending(B, X);
    let c = s.pending(C, S);
    s.cancel(b);
    s.brings(&[(c, Granted)], &[]);
}

#[test]
fn cancel_during_a_try_that_succeeds() {
    let mut s = Script::new();
    let a = s.pending(A, X);
    s.cancel(a);
    s.brings(&[], &[try_for(X)]);
    s.acquired();
    s.brings(&[], &[release_of(&[X])]);
    s.released();
    s.brings(&[], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn cancel_during_a_try_that_is_denied() {
    let mut s = Script::new();
    let a = s.pending(A, X);
    s.cancel(a);
    s.denied();
    s.brings(&[], &[try_for(X)]);
    assert!(s.table.is_empty());
}

#[test]
fn cancel_during_a_try_leaves_it_to_the_next() {
    let mut s = Script::new();
    let a = s.pending(A, X);
    let b = s.pending(B, X);
    s.cancel(a);
    s.acquired();
    s.brings(&[(b, Granted)], &[try_for(X)]);
}

#[test]
fn cancel_ends_the_wait() {
    let (mut s, a) = Script::with_wait(A, X);
    s.cancel(a);
    s.brings(&[], &[CANCEL_WAIT]);
    s.wait_ended();
    s.brings(&[], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn cancel_of_a_wait_that_has_just_won() {
    let (mut s, a) = Script::with_wait(A, X);
    s.cancel(a);
    s.acquired();
    s.brings(&[], &[CANCEL_WAIT, release_of(&[X])]);
    s.released();
    assert!(s.table.is_empty());
}

#[test]
fn cancel_leaves_the_wait_to_one_who_wants_the_same() {
    let (mut s, a) = Script::with_wait(A, X);
    let b = s.pending(B, X);
    s.cancel(a);
    s.brings(&[], &[]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn cancel_ends_a_wait_in_a_mode_that_nobody_wants() {
    let (mut s, a) = Script::with_wait(A, X);
    let b = s.pending(B, S);
    s.cancel(a);
    s.brings(&[], &[CANCEL_WAIT]);
    s.wait_ended();
    s.brings(&[], &[try_for(S)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}

/// It may be free by now: only the server knows.
#[test]
fn a_try_during_the_end_of_a_wait_asks_the_server() {
    let (mut s, a) = Script::with_wait(A, X);
    s.try_denied(B, X);
    s.cancel(a);
    let b = s.try_pending(B, X);
    s.wait_ended();
    s.brings(&[], &[CANCEL_WAIT, try_once(X)]);
    s.denied();
    s.brings(&[(b, Denied)], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn cancel_of_a_hold_releases_it() {
    let (mut s, a) = Script::with_hold(A, X);
    s.cancel(a);
    s.brings(&[], &[release_of(&[X])]);
    assert_eq!(s.table.release(a, request_id(99), s.now), Release::NotHeld);
    s.released();
    s.brings(&[], &[]);
    assert!(s.table.is_empty());
}

/// The grant is among the outcomes, but its caller has not been told.
#[test]
fn cancel_of_a_grant_that_was_not_delivered_hands_the_key_on() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    let c = s.pending(C, X);
    s.release(a);
    s.cancel(b);
    s.brings(&[(b, Granted), (c, Granted)], &[]);
}

#[test]
fn cancel_of_what_is_over_does_nothing() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    s.release(a);
    s.cancel(a);
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn closing_an_owner_ends_what_it_has_and_nothing_else() {
    let (mut s, _) = Script::with_hold(A, X);
    let waiter = s.pending(B, X);
    let other = s.pending(C, X);
    let (_, confirmations) = s.close(B);
    assert_eq!(confirmations, 0);
    s.brings(&[(waiter, Closed)], &[]);
    let (_, confirmations) = s.close(A);
    assert_eq!(confirmations, 0, "the key was handed on");
    s.brings(&[(other, Granted)], &[]);
}

#[test]
fn closing_the_last_holder_waits_for_the_server() {
    let (mut s, first) = Script::with_hold(A, X);
    let second = s.granted(A, X);
    let (ticket, confirmations) = s.close(A);
    // Only the last of the holds had to be given up on the server.
    assert_eq!(confirmations, 1);
    assert!(!s.table.knows(first) && !s.table.knows(second));
    s.brings(&[], &[release_of(&[X])]);
    s.released();
    s.brings(&[(ticket, Released { hold: second })], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn closing_an_owner_counts_each_confirmation() {
    let (mut s, exclusive) = Script::with_hold(A, X);
    let shared = s.granted(A, S);
    let (ticket, confirmations) = s.close(A);
    assert_eq!(confirmations, 2, "one is given up during the downgrade that the other began");
    s.downgraded(true);
    s.released();
    let effects = std::mem::take(s.table.effects());
    assert_eq!(effects.outcomes, [(ticket, Released { hold: exclusive }), (ticket, Released { hold: shared }),]);
    assert!(s.table.is_empty());
}

/// A lock that is granted to an owner only because that very owner is closed would be a hold that nobody knows of.
#[test]
fn closing_an_owner_grants_it_nothing() {
    let (mut s, _) = Script::with_hold(A, S);
    let exclusive = s.pending(B, X);
    let shared = s.pending(B, S);
    s.close(B);
    s.brings(&[(exclusive, Closed), (shared, Closed)], &[]);
}

#[test]
fn closing_a_group_ends_each_of_its_owners() {
    let (mut s, _) = Script::with_hold(A.of_call(request_id(1001)), X);
    let waiter = s.pending(A.of_call(request_id(1002)), X);
    let other = s.pending(B.of_call(request_id(1001)), X);
    s.brings(&[], &[]);
    s.close(A);
    s.brings(&[(waiter, Closed), (other, Granted)], &[]);
}

#[test]
fn closing_an_owner_during_its_first_try() {
    let mut s = Script::new();
    let lock = s.pending(A, X);
    let release = s.release_latest_pending(A, X);
    let (_, confirmations) = s.close(A);
    assert_eq!(confirmations, 0);
    s.brings(&[(lock, Closed), (release, NotHeld)], &[try_for(X)]);
    s.acquired();
    s.brings(&[], &[release_of(&[X])]);
    s.released();
    assert!(s.table.is_empty());
}

#[test]
fn closing_an_owner_during_its_wait() {
    let (mut s, a) = Script::with_wait(A, X);
    s.close(A);
    s.brings(&[(a, Closed)], &[CANCEL_WAIT]);
    let b = s.pending(B, X);
    s.wait_ended();
    s.denied();
    s.brings(&[], &[try_for(X), wait_for(X)]);
    assert!(s.table.knows(b));
}
