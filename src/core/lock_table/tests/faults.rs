//! Failures and lost sessions. The reporter tells first that the session is lost, then what was under way on it.

use super::script::{
    downgrade, release_of, requeue, try_for, try_upgrade, wait_for_upgrade, Script, A, B, C, CANCEL_WAIT, HOME, KEY,
    PROBE, S, TENURE, X,
};
use crate::core::lock_table::Outcome::{Failed, Granted, Lost, ReleaseFailed};
use crate::core::{Key, SessionId};

#[test]
fn a_failed_try_fails_all_that_wait_for_the_server() {
    let mut s = Script::new();
    let a = s.pending(A, X);
    let b = s.pending(B, S);
    let c = s.try_pending(C, X);
    s.acquire_failed();
    s.brings(&[(a, Failed), (b, Failed), (c, Failed)], &[try_for(X)]);
    assert!(s.table.is_empty());
}

#[test]
fn a_failed_wait_fails_all_that_wait_for_the_server() {
    let (mut s, a) = Script::with_wait(A, X);
    let b = s.pending(B, X);
    s.acquire_failed();
    s.brings(&[(a, Failed), (b, Failed)], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn a_failed_wait_that_was_to_end_fails_nobody() {
    let (mut s, a) = Script::with_wait(A, X);
    s.cancel(a);
    let b = s.pending(B, X);
    s.acquire_failed();
    s.brings(&[], &[CANCEL_WAIT, try_for(X)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn a_failed_requeue_fails_those_that_it_was_for() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    s.now += TENURE;
    s.release(a);
    s.acquire_failed();
    s.brings(&[(b, Failed)], &[requeue(X, X, true)]);
    assert!(s.table.is_empty());
}

#[test]
fn holds_are_lost_and_waiters_go_on() {
    let (mut s, a) = Script::with_hold(A, X);
    let b = s.pending(B, X);
    s.lose_session();
    s.brings(&[(a, Lost)], &[try_for(X)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn another_session_is_no_matter() {
    let (mut s, a) = Script::with_hold(A, X);
    s.table.session_lost(SessionId(HOME.0 + 1), s.now);
    s.brings(&[], &[]);
    assert!(s.table.knows(a));
    s.lose_session();
    s.brings(&[(a, Lost)], &[]);
    assert!(s.table.is_empty());
}

#[test]
fn lost_during_a_first_try() {
    let mut s = Script::new();
    let a = s.pending(A, X);
    s.lose_session();
    s.acquire_failed();
    s.brings(&[(a, Failed)], &[try_for(X)]);
    assert!(s.table.is_empty());
}

#[test]
fn lost_during_an_upgrade() {
    let (mut s, shared) = Script::with_hold(A, S);
    let upgrade = s.pending(A, X);
    s.lose_session();
    s.acquire_failed();
    s.brings(&[(shared, Lost), (upgrade, Failed)], &[try_upgrade(true)]);
    assert!(s.table.is_empty());
}

#[test]
fn lost_during_the_wait_for_an_upgrade() {
    let (mut s, shared) = Script::with_hold(A, S);
    let upgrade = s.pending(A, X);
    s.denied();
    s.lose_session();
    s.acquire_failed();
    s.brings(&[(shared, Lost), (upgrade, Failed)], &[try_upgrade(true), wait_for_upgrade()]);
    assert!(s.table.is_empty());
}

#[test]
fn lost_during_a_release() {
    let (mut s, a) = Script::with_hold(A, X);
    let ticket = s.release_pending(a);
    let b = s.pending(B, X);
    s.lose_session();
    s.release_failed();
    s.brings(&[(ticket, ReleaseFailed { hold: a })], &[release_of(&[X]), try_for(X)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn lost_during_a_downgrade() {
    let (mut s, exclusive) = Script::with_hold(A, X);
    let shared = s.granted(A, S);
    let ticket = s.release_pending(exclusive);
    let b = s.pending(B, X);
    s.lose_session();
    s.brings(&[(shared, Lost), (ticket, ReleaseFailed { hold: exclusive })], &[downgrade(true), try_for(X)]);
    s.downgraded(false);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn lost_during_a_probe() {
    let (mut s, a) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    s.lose_session();
    s.brings(&[(a, Lost)], &[PROBE, try_for(S)]);
    s.probed(true);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
    s.granted(C, S);
}

#[test]
fn lost_while_readers_drain() {
    let (mut s, a) = Script::with_hold(A, S);
    s.now += TENURE;
    let b = s.pending(B, S);
    s.probed(true);
    s.lose_session();
    s.brings(&[(a, Lost)], &[PROBE, try_for(S)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
    s.granted(C, S);
}

#[test]
fn a_release_while_an_upgrade_is_tried_fails_with_the_session() {
    let (mut s, shared) = Script::with_hold(A, S);
    let upgrade = s.pending(A, X);
    s.cancel(upgrade);
    let ticket = s.release_pending(shared);
    s.lose_session();
    s.acquire_failed();
    s.brings(&[(ticket, ReleaseFailed { hold: shared })], &[try_upgrade(true)]);
    assert!(s.table.is_empty());
}

#[test]
fn a_release_of_what_the_server_does_not_know_fails() {
    let (mut s, a) = Script::with_hold(A, X);
    let ticket = s.release_pending(a);
    s.release_failed();
    s.brings(&[(ticket, ReleaseFailed { hold: a })], &[release_of(&[X])]);
    assert!(s.table.is_empty());
}

#[test]
fn events_of_unknown_keys_are_ignored() {
    let mut s = Script::new();
    s.acquired();
    s.denied();
    s.wait_ended();
    s.acquire_failed();
    s.released();
    s.downgraded(true);
    s.probed(true);
    s.brings(&[], &[]);
    assert_eq!(s.table.home(KEY), None);
    assert_eq!(s.table.home(Key::Single(0)), None);
}
