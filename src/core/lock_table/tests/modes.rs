//! From shared to exclusive and back.

use super::script::{
    downgrade, release_of, requeue, try_for, try_upgrade, wait_for_upgrade, Script, A, B, C, CANCEL_WAIT, S, X,
};
use crate::core::lock_table::Outcome::{Denied, Failed, Granted, Released};

#[test]
fn an_upgrade_is_asked_for_where_the_key_is_held() {
    let (mut s, shared) = Script::with_hold(A, S);
    let exclusive = s.pending(A, X);
    s.brings(&[], &[try_upgrade(true)]);
    s.denied();
    s.brings(&[], &[wait_for_upgrade()]);
    s.acquired();
    s.brings(&[(exclusive, Granted)], &[]);
    s.release(shared);
    s.brings(&[], &[]);
    let ticket = s.release_pending(exclusive);
    s.brings(&[], &[release_of(&[X, S])]);
    s.ends(ticket, exclusive);
}

#[test]
fn an_upgrade_waits_for_the_other_holders_in_the_process() {
    let (mut s, _) = Script::with_hold(A, S);
    let b = s.granted(B, S);
    let upgrade = s.pending(A, X);
    s.brings(&[], &[]);
    s.release(b);
    s.brings(&[], &[try_upgrade(true)]);
    s.acquired();
    s.brings(&[(upgrade, Granted)], &[]);
}

#[test]
fn an_upgrade_goes_before_those_who_wait_for_what_its_owner_holds() {
    let (mut s, shared) = Script::with_hold(A, S);
    let b = s.pending(B, X);
    let upgrade = s.pending(A, X);
    s.brings(&[], &[try_upgrade(true)]);
    s.acquired();
    s.brings(&[(upgrade, Granted)], &[]);
    s.release(shared);
    s.release(upgrade);
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn two_upgrades_of_one_key_are_a_deadlock() {
    let (mut s, _) = Script::with_hold(A, S);
    let b = s.granted(B, S);
    let upgrade = s.pending(A, X);
    s.deadlock(B, X);
    s.try_denied(B, X);
    // The earlier one waits on.
    s.release(b);
    s.brings(&[], &[try_upgrade(true)]);
    s.acquired();
    s.brings(&[(upgrade, Granted)], &[]);
}

#[test]
fn one_who_waits_to_join_is_no_upgrade() {
    let (mut s, _) = Script::with_hold(A, S);
    let _b = s.pending(B, X);
    let _upgrade = s.pending(A, X);
    let _c = s.pending(C, X);
    s.brings(&[], &[try_upgrade(true)]);
}

#[test]
fn a_try_to_upgrade_is_answered_once() {
    let (mut s, _) = Script::with_hold(A, S);
    let upgrade = s.try_pending(A, X);
    s.brings(&[], &[try_upgrade(false)]);
    s.denied();
    s.brings(&[(upgrade, Denied)], &[]);
}

#[test]
fn an_upgrade_whose_owner_lets_go_starts_afresh() {
    let (mut s, shared) = Script::with_hold(A, S);
    let upgrade = s.pending(A, X);
    s.denied();
    s.brings(&[], &[try_upgrade(true), wait_for_upgrade()]);
    // Waiting on with a shared lock that nobody needs would keep others off.
    s.release(shared);
    s.brings(&[], &[CANCEL_WAIT]);
    s.wait_ended();
    s.brings(&[], &[requeue(S, X, true)]);
    s.acquired();
    s.brings(&[(upgrade, Granted)], &[]);
}

#[test]
fn an_upgrade_that_was_given_up_while_tried_is_not_awaited() {
    let (mut s, shared) = Script::with_hold(A, S);
    let upgrade = s.pending(A, X);
    s.cancel(upgrade);
    s.denied();
    s.brings(&[], &[try_upgrade(true)]);
    let ticket = s.release_pending(shared);
    s.brings(&[], &[release_of(&[S])]);
    s.ends(ticket, shared);
}

#[test]
fn an_exclusive_lock_covers_shared_holds_and_is_exchanged_for_one() {
    let (mut s, exclusive) = Script::with_hold(A, X);
    let shared = s.granted(A, S);
    let ticket = s.release_pending(exclusive);
    s.brings(&[], &[downgrade(true)]);
    // The shared lock is certain already.
    let b = s.granted(B, S);
    s.downgraded(true);
    s.brings(&[(ticket, Released { hold: exclusive })], &[]);
    s.release(b);
    let ticket = s.release_pending(shared);
    s.brings(&[], &[release_of(&[S])]);
    s.ends(ticket, shared);
}

#[test]
fn an_upgrade_is_undone_without_taking_the_shared_lock_again() {
    let (mut s, _) = Script::with_hold(A, S);
    let exclusive = s.pending(A, X);
    s.acquired();
    s.brings(&[(exclusive, Granted)], &[try_upgrade(true)]);
    let ticket = s.release_pending(exclusive);
    s.brings(&[], &[downgrade(false)]);
    s.downgraded(true);
    s.brings(&[(ticket, Released { hold: exclusive })], &[]);
}

#[test]
fn an_upgrade_during_a_downgrade_follows_it() {
    let (mut s, exclusive) = Script::with_hold(A, X);
    let _shared = s.granted(A, S);
    let ticket = s.release_pending(exclusive);
    let upgrade = s.pending(A, X);
    s.try_denied(B, X);
    s.brings(&[], &[downgrade(true)]);
    s.downgraded(true);
    s.brings(&[(ticket, Released { hold: exclusive })], &[try_upgrade(true)]);
    s.acquired();
    s.brings(&[(upgrade, Granted)], &[]);
}

#[test]
fn all_holds_given_up_during_a_downgrade() {
    let (mut s, exclusive) = Script::with_hold(A, X);
    let shared = s.granted(A, S);
    let first = s.release_pending(exclusive);
    let second = s.release_pending(shared);
    s.brings(&[], &[downgrade(true)]);
    s.downgraded(true);
    s.brings(&[], &[release_of(&[S])]);
    s.released();
    s.brings(&[(first, Released { hold: exclusive }), (second, Released { hold: shared })], &[]);
    assert!(s.table.is_empty());
}

/// The shared lock was not taken then, and must not be given back later.
#[test]
fn a_refused_downgrade_leaves_the_exclusive_lock_alone() {
    let (mut s, exclusive) = Script::with_hold(A, X);
    let shared = s.granted(A, S);
    let ticket = s.release_pending(exclusive);
    s.downgraded(false);
    s.brings(&[(ticket, Released { hold: exclusive })], &[downgrade(true)]);
    // It still covers everything.
    let again = s.granted(A, X);
    let joined = s.pending(B, S);
    let ticket = s.release_pending(again);
    s.brings(&[(joined, Granted)], &[downgrade(true)]);
    s.downgraded(false);
    // Each release is an occasion to ask again.
    s.brings(&[(ticket, Released { hold: again })], &[]);
    let ticket = s.release_pending(shared);
    s.downgraded(false);
    s.brings(&[(ticket, Released { hold: shared })], &[downgrade(true)]);
    let ticket = s.release_pending(joined);
    s.brings(&[], &[release_of(&[X])]);
    s.ends(ticket, joined);
}

#[test]
fn a_refused_undoing_of_an_upgrade_leaves_both_locks() {
    let (mut s, shared) = Script::with_hold(A, S);
    let exclusive = s.pending(A, X);
    s.acquired();
    s.brings(&[(exclusive, Granted)], &[try_upgrade(true)]);
    let ticket = s.release_pending(exclusive);
    s.downgraded(false);
    s.brings(&[(ticket, Released { hold: exclusive })], &[downgrade(false)]);
    let ticket = s.release_pending(shared);
    s.brings(&[], &[release_of(&[X, S])]);
    s.ends(ticket, shared);
}

#[test]
fn a_failed_upgrade_fails_alone() {
    let (mut s, _) = Script::with_hold(A, S);
    let b = s.pending(B, X);
    let upgrade = s.pending(A, X);
    s.acquire_failed();
    s.brings(&[(upgrade, Failed)], &[try_upgrade(true)]);
    assert!(s.table.knows(b));
}

#[test]
fn a_failed_upgrade_that_nobody_wants_any_more_fails_nobody() {
    let (mut s, shared) = Script::with_hold(A, S);
    let b = s.pending(B, X);
    let upgrade = s.pending(A, X);
    s.cancel(upgrade);
    s.acquire_failed();
    s.brings(&[], &[try_upgrade(true)]);
    s.release(shared);
    s.brings(&[], &[requeue(S, X, true)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}

#[test]
fn a_left_over_shared_lock_is_exchanged() {
    let mut s = Script::new();
    let a = s.pending(A, S);
    let b = s.pending(B, X);
    s.cancel(a);
    s.acquired();
    s.brings(&[], &[try_for(S), requeue(S, X, true)]);
    s.acquired();
    s.brings(&[(b, Granted)], &[]);
}
