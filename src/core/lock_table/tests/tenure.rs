//! When others on the server get their turn.

use super::script::{
    downgrade, release_of, requeue, try_for, try_once, wait_for, Script, A, B, C, D, PROBE, S, TENURE, X,
};
use crate::core::lock_table::Outcome::{Denied, Granted, ReleaseFailed, Released};

#[test]
fn the_key_stays_in_the_process_for_a_while() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    s.now += TENURE - 1;
    s.release(a);
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn then_it_goes_through_the_server() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    s.now += TENURE;
    s.release(a);
    s.brings(&[], &[requeue(X, X, true)]);
    s.denied();
    s.brings(&[], &[wait_for(X)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
    // A new tenure has begun.
    let c = s.pending(C, X);
    s.release(b);
    s.brings(&[(c, Granted)], &[]);
}

#[test]
fn or_what_was_held_is_confirmed_before_somebody_else_tries() {
    for is_lost in [false, true] {
        let (mut s, a) = Script::with_confirmed_hold(A, X);
        let b = s.pending(B, X);
        s.now += TENURE;
        let ticket = s.release_pending(a);
        s.brings(&[], &[release_of(&[X])]);
        let outcome = if is_lost {
            s.release_failed();
            ReleaseFailed { hold: a }
        } else {
            s.released();
            Released { hold: a }
        };
        s.brings(&[(ticket, outcome)], &[try_for(X)]);
        s.acquired();
        s.brings(&[(b, Granted)], &[]);
    }
}

#[test]
fn the_owner_itself_takes_more_at_any_time() {
    let (mut s, _) = Script::with_hold(A, X);
    let _b = s.pending(B, X);
    s.now += 2 * TENURE;
    s.granted(A, X);
    s.brings(&[], &[]);
}

#[test]
fn a_try_goes_through_the_server_too() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    s.now += TENURE;
    s.release(a);
    let c = s.try_pending(C, X);
    s.cancel(b);
    s.denied();
    s.brings(&[(c, Denied)], &[requeue(X, X, true)]);
    assert!(s.table.is_empty());
}

#[test]
fn readers_join_on_when_nobody_waits() {
    let (mut s, _) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    let c = s.try_pending(C, S);
    s.brings(&[], &[PROBE]);
    s.probed(false);
    s.brings(&[(b, Granted), (c, Granted)], &[]);
    // A new tenure has begun.
    s.granted(D, S);
}

#[test]
fn readers_drain_when_somebody_waits() {
    let (mut s, a) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    let c = s.try_pending(C, S);
    s.brings(&[], &[PROBE]);
    s.probed(true);
    s.brings(&[(c, Denied)], &[]);
    s.try_denied(D, S);
    let again = s.granted(A, S);
    s.release(a);
    s.brings(&[], &[]);
    s.release(again);
    s.brings(&[], &[requeue(S, S, true)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
    s.granted(D, S);
}

#[test]
fn draining_outlives_the_waiter_that_found_it_out() {
    let (mut s, a) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    s.probed(true);
    s.cancel(b);
    s.brings(&[], &[PROBE]);
    s.try_denied(B, S);
    let ticket = s.release_pending(a);
    s.brings(&[], &[release_of(&[S])]);
    s.ends(ticket, a);
}

#[test]
fn draining_ends_with_the_lock() {
    let (mut s, a) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    s.probed(true);
    s.cancel(b);
    s.brings(&[], &[PROBE]);
    let ticket = s.release_pending(a);
    let c = s.try_pending(C, S);
    s.released();
    s.brings(&[(ticket, Released { hold: a })], &[release_of(&[S]), try_once(S)]);
    s.acquired();
    s.brings(&[(c, Granted)], &[]);
}

/// Those who waited may have gone away long before the holds that they were to drain.
#[test]
fn draining_is_reconsidered_once_a_tenure() {
    let (mut s, _) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    s.probed(true);
    s.try_denied(C, S);
    s.brings(&[], &[PROBE]);
    s.now += TENURE;
    let d = s.pending(D, S);
    s.brings(&[], &[PROBE]);
    s.probed(false);
    s.brings(&[(b, Granted), (d, Granted)], &[]);
}

#[test]
fn a_try_reconsiders_draining_too() {
    let (mut s, _) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.try_pending(B, S);
    s.probed(true);
    s.try_denied(B, S);
    s.now += TENURE;
    let c = s.try_pending(C, S);
    s.brings(&[(b, Denied)], &[PROBE, PROBE]);
    s.probed(true);
    s.brings(&[(c, Denied)], &[]);
}

#[test]
fn an_answer_that_comes_after_the_lock_was_given_up_changes_nothing() {
    let (mut s, a) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    s.release(a);
    s.brings(&[], &[PROBE, requeue(S, S, true)]);
    s.acquired();
    s.probed(true);
    s.brings(&[(b, Granted)], &[]);
    s.granted(C, S);
}

#[test]
fn an_exclusive_lock_that_only_readers_use_is_given_up_first() {
    let (mut s, exclusive) = Script::with_hold(A, X);
    let _shared = s.granted(A, S);
    let b = s.pending(B, S);
    s.now += TENURE;
    let ticket = s.release_pending(exclusive);
    s.brings(&[], &[downgrade(true)]);
    s.downgraded(true);
    s.brings(&[(ticket, Released { hold: exclusive })], &[PROBE]);
    s.probed(false);
    s.brings(&[(b, Granted)], &[]);
}
