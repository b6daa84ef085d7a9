//! Who gets the key next, and who is refused.

use super::script::{downgrade, release_of, requeue, try_for, try_once, wait_for, Script, A, B, C, D, KEY, S, X};
use crate::core::lock_table::Outcome::{Denied, Granted, Released};

#[test]
fn a_lock_is_tried_then_awaited_then_held_then_given_up() {
    let mut s = Script::new();
    let lock = s.pending(A, X);
    s.brings(&[], &[try_for(X)]);
    s.denied();
    s.brings(&[], &[wait_for(X)]);
    s.acquired();
    s.brings(&[(lock, Granted)], &[]);
    let ticket = s.release_pending(lock);
    s.brings(&[], &[release_of(&[X])]);
    s.ends(ticket, lock);
}

#[test]
fn first_in_first_out_without_the_server() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    let c = s.pending(C, X);
    s.release(a);
    s.brings(&[(b, Granted)], &[]);
    s.release(b);
    s.brings(&[(c, Granted)], &[]);
    let ticket = s.release_pending(c);
    s.brings(&[], &[release_of(&[X])]);
    s.ends(ticket, c);
}

#[test]
fn holds_of_one_owner_stack() {
    let (mut s, first) = Script::with_hold(A, X);
    let second = s.granted(A, X);
    let third = s.try_granted(A, X);
    s.release(second);
    s.release(first);
    s.brings(&[], &[]);
    let ticket = s.release_pending(third);
    s.brings(&[], &[release_of(&[X])]);
    s.ends(ticket, third);
}

#[test]
fn a_holder_is_served_before_those_who_wait_for_it() {
    let (mut s, _) = Script::with_hold(A, X);
    let _b = s.pending(B, X);
    s.granted(A, X);
    s.brings(&[], &[]);
}

/// Otherwise B waits for A's hold, and A, which awaits both its locks before it releases one, for B's.
#[test]
fn what_a_holder_asked_for_earlier_goes_first_too() {
    let mut s = Script::new();
    let first = s.pending(A, X);
    let other = s.pending(B, X);
    let second = s.pending(A, X);
    s.acquired();
    s.brings(&[(first, Granted), (second, Granted)], &[try_for(X)]);
    s.release(first);
    s.release(second);
    s.brings(&[(other, Granted)], &[]);
}

#[test]
fn shared_holds_join() {
    let (mut s, a) = Script::with_hold(A, S);
    let b = s.granted(B, S);
    s.release(a);
    s.brings(&[], &[]);
    let ticket = s.release_pending(b);
    s.brings(&[], &[release_of(&[S])]);
    s.ends(ticket, b);
}

#[test]
fn nobody_joins_past_a_waiter() {
    let (mut s, a) = Script::with_hold(A, S);
    let b = s.pending(B, X);
    let c = s.pending(C, S);
    s.brings(&[], &[]);
    s.release(a);
    // The server lock is too weak for B: whoever waits on the server comes first.
    s.brings(&[], &[requeue(S, X, true)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
    let ticket = s.release_pending(b);
    s.brings(&[(c, Granted)], &[downgrade(true)]);
    s.downgraded(true);
    s.brings(&[(ticket, Released { hold: b })], &[]);
}

#[test]
fn shared_waiters_in_a_row_are_granted_together() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, S);
    let c = s.pending(C, S);
    let ticket = s.release_pending(a);
    s.brings(&[(b, Granted), (c, Granted)], &[downgrade(true)]);
    s.downgraded(true);
    s.brings(&[(ticket, Released { hold: a })], &[]);
}

#[test]
fn a_try_asks_the_server_once() {
    let mut s = Script::new();
    let a = s.try_pending(A, X);
    s.brings(&[], &[try_once(X)]);
    s.denied();
    s.brings(&[(a, Denied)], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn a_try_against_a_hold_is_refused_at_once() {
    let (mut s, _) = Script::with_hold(A, X);
    s.try_denied(B, X);
    s.try_denied(B, S);
    s.try_granted(A, S);
    s.brings(&[], &[]);
}

#[test]
fn a_try_joins_shared_holds_unless_somebody_waits() {
    let (mut s, _) = Script::with_hold(A, S);
    s.try_granted(B, S);
    let _c = s.pending(C, X);
    s.try_granted(B, S);
    s.try_denied(D, S);
    s.brings(&[], &[]);
}

#[test]
fn a_try_during_another_waits_for_its_answer() {
    let mut s = Script::new();
    let a = s.try_pending(A, X);
    let b = s.try_pending(B, X);
    let c = s.try_pending(C, S);
    // What the server refused exclusively it may give shared.
    s.denied();
    s.brings(&[(a, Denied), (b, Denied)], &[try_once(X), try_once(S)]);
    s.acquired();
    s.brings(&[(c, Granted)], &[]);
}

#[test]
fn a_try_behind_a_lock_that_gets_the_key_is_refused() {
    let mut s = Script::new();
    let a = s.pending(A, X);
    let b = s.pending(B, X);
    let c = s.try_pending(C, X);
    s.acquired();
    s.brings(&[(a, Granted), (c, Denied)], &[try_for(X)]);
    s.release(a);
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn a_try_behind_a_wait_is_refused() {
    let mut s = Script::new();
    let a = s.pending(A, X);
    let b = s.try_pending(B, S);
    s.denied();
    s.brings(&[(b, Denied)], &[try_for(X), wait_for(X)]);
    s.try_denied(C, S);
    s.acquired();
    s.brings(&[(a, Granted)], &[]);
}

#[test]
fn a_try_during_a_release_asks_the_server_anew() {
    let (mut s, a) = Script::with_hold(A, X);
    let ticket = s.release_pending(a);
    let b = s.try_pending(B, X);
    s.brings(&[], &[release_of(&[X])]);
    s.released();
    s.brings(&[(ticket, Released { hold: a })], &[try_once(X)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn a_key_is_known_to_be_taken_when_the_server_or_a_hold_in_the_process_says_so() {
    let mut s = Script::new();
    s.pending(A, X);
    assert!(!s.table.is_taken(KEY, A, X));
    s.denied();
    assert!(s.table.is_taken(KEY, A, X) && s.table.is_taken(KEY, B, S));
    s.acquired();
    assert!(!s.table.is_taken(KEY, A, X));
    s.pending(B, X);
    assert!(s.table.is_taken(KEY, B, X) && s.table.is_taken(KEY, B, S));
}
