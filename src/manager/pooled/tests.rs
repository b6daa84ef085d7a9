//! What is asked of the sessions is reported once, whatever becomes of them, and what is counted returns.

use super::{Job, Pooled};
use crate::core::lock_table::{Event, Operation};
use crate::core::{Key, Mode, Modes, SessionId, Step};
use crate::error::Error;
use crate::manager::report::Report;
use crate::pg::Seen;
use std::time::Instant;

const KEY: Key = Key::Pair(1, 2);

fn try_step(key: Key, patient: bool) -> Operation {
    Operation::Do { step: Step::Try { key, mode: Mode::Exclusive }, home: None, patient }
}

const fn wait(key: Key) -> Operation {
    Operation::Wait { key, mode: Mode::Exclusive, home: None }
}

fn release(key: Key, home: SessionId) -> Operation {
    Operation::Do { step: Step::Release { key, held: Modes::only(Mode::Exclusive) }, home: Some(home), patient: false }
}

/// The reports so far, to be read.
fn reports(pooled: &mut Pooled) -> Vec<String> {
    let describe = |report| match report {
        Report::Event(Event::Acquired { .. }, _) => "acquired".to_owned(),
        Report::Event(Event::Denied { .. }, _) => "denied".to_owned(),
        Report::Event(Event::WaitEnded { .. }, _) => "wait ended".to_owned(),
        Report::Event(Event::AcquireFailed { .. }, cause) => {
            format!("failed {}", cause.expect("it has a cause").code())
        }
        Report::Event(Event::Released { held, .. }, _) => format!("released {held}"),
        Report::Event(Event::SessionLost { .. }, _) => "lost".to_owned(),
        Report::Event(Event::Downgraded { done, .. }, _) => format!("downgraded {done}"),
        Report::Event(Event::Probed { contended, .. }, _) => format!("probed {contended}"),
        Report::Answer(..) => "answer".to_owned(),
        Report::InquiryFailed | Report::FenceEnded(_) => unreachable!("of no session through a pooler"),
    };
    std::iter::from_fn(|| pooled.reports.take_first()).map(describe).collect()
}

/// The job that a session begins.
fn begin(pooled: &mut Pooled, id: SessionId) -> Option<Job> {
    pooled.sessions.slots.get_mut(id)?.begin_job()
}

/// Takes a session that is to be opened.
fn opened(pooled: &mut Pooled) -> SessionId {
    pooled.sessions.slots.take_to_open().last().expect("a session was begun").0
}

/// A session that holds the key.
fn hold(pooled: &mut Pooled, key: Key) -> SessionId {
    pooled.route(try_step(key, false));
    let id = opened(pooled);
    assert!(matches!(begin(pooled, id), Some(Job::Pin { .. })));
    pooled.done(id, Ok(true));
    assert_eq!(reports(pooled), ["acquired"]);
    id
}

/// Has a look made for what is due, which finds it free or not; the session.
fn look(pooled: &mut Pooled, is_free: bool) -> SessionId {
    assert!(pooled.look_round().is_some());
    let id = pooled.sessions.asker.expect("somebody looks");
    pooled.sessions.slots.take_to_open();
    assert!(matches!(begin(pooled, id), Some(Job::Look)));
    let keys = pooled.waits.take_due(Instant::now());
    let seen = if is_free { Seen::Free } else { Seen::Taken { by: 1, awaited: 0 } };
    pooled.looked(id, &keys, &vec![seen; keys.len()]);
    id
}

#[test]
fn a_hold_takes_a_session_and_gives_it_back() {
    let mut pooled = Pooled::new(1);
    let id = hold(&mut pooled, KEY);
    assert_eq!(pooled.sessions.pinned, 1);
    pooled.route(release(KEY, id));
    begin(&mut pooled, id);
    pooled.done(id, Ok(true));
    assert_eq!((reports(&mut pooled), pooled.sessions.pinned), (vec!["released true".to_owned()], 0));
    // The next one has the same.
    pooled.route(try_step(KEY, false));
    assert!(pooled.sessions.slots.take_to_open().is_empty());
    begin(&mut pooled, id);
    pooled.done(id, Ok(false));
    assert_eq!((reports(&mut pooled), pooled.sessions.pinned), (vec!["denied".to_owned()], 0));
}

#[test]
fn who_finds_no_session_is_told_or_waits() {
    let mut pooled = Pooled::new(1);
    let id = hold(&mut pooled, KEY);
    let other = Key::Pair(3, 4);
    pooled.route(try_step(other, false));
    assert_eq!(reports(&mut pooled), ["failed 53300"]);
    pooled.route(try_step(other, true));
    assert_eq!(reports(&mut pooled), ["denied"]);
    pooled.route(wait(other));
    // It would be of no use to look.
    assert!(pooled.look_round().is_some() && pooled.sessions.asker.is_none());
    pooled.route(release(KEY, id));
    begin(&mut pooled, id);
    pooled.done(id, Ok(true));
    assert_eq!(reports(&mut pooled), ["released true"]);
    assert_eq!(look(&mut pooled, true), id, "the one that is free");
    assert!(matches!(begin(&mut pooled, id), Some(Job::Pin { .. })));
    pooled.done(id, Ok(true));
    assert_eq!(reports(&mut pooled), ["acquired"]);
    assert!(pooled.waits.is_empty());
}

#[test]
fn a_wait_is_ended_once_at_whatever_stage_it_is() {
    // Before the look, while it is under way, and while it is tried for, with either answer.
    for stage in 0..4 {
        let mut pooled = Pooled::new(2);
        pooled.route(wait(KEY));
        let cancel = Operation::CancelWait { key: KEY };
        let expected = match stage {
            0 => {
                pooled.route(cancel);
                "wait ended"
            }
            1 => {
                assert!(pooled.look_round().is_some());
                let id = opened(&mut pooled);
                begin(&mut pooled, id);
                let keys = pooled.waits.take_due(Instant::now());
                pooled.route(cancel);
                pooled.looked(id, &keys, &[Seen::Free]);
                "wait ended"
            }
            _ => {
                let id = look(&mut pooled, true);
                begin(&mut pooled, id);
                pooled.route(cancel);
                assert!(reports(&mut pooled).is_empty());
                pooled.done(id, Ok(stage == 2));
                if stage == 2 {
                    "acquired"
                } else {
                    "wait ended"
                }
            }
        };
        assert_eq!(reports(&mut pooled), [expected], "stage {stage}");
        assert_eq!((pooled.waits.is_empty(), pooled.sessions.pinned), (true, usize::from(stage == 2)));
        assert!(!pooled.is_looking && pooled.look_round().is_none());
    }
}

#[test]
fn a_key_that_changes_hands_is_waited_for_in_the_queue_if_nobody_is() {
    for (by, awaited, takes_turn) in [(1, 0, false), (2, 1, false), (2, 0, true)] {
        let mut pooled = Pooled::new(2);
        pooled.route(wait(KEY));
        let id = look(&mut pooled, false);
        assert!(begin(&mut pooled, id).is_none());
        let keys = [(KEY, Mode::Exclusive)];
        std::thread::sleep(pooled.waits.pause(Instant::now()));
        assert!(pooled.look_round().is_some() && matches!(begin(&mut pooled, id), Some(Job::Look)));
        assert_eq!(pooled.waits.take_due(Instant::now()), keys);
        pooled.looked(id, &keys, &[Seen::Taken { by, awaited }]);
        assert_eq!(matches!(begin(&mut pooled, id), Some(Job::Pin { turn: Some(_), .. })), takes_turn);
    }
}

#[test]
fn a_session_that_is_lost_reports_all_that_it_had() {
    let mut pooled = Pooled::new(2);
    let id = hold(&mut pooled, KEY);
    pooled.verify(id, crate::core::ThreadId::next().request(1));
    pooled.route(release(KEY, id));
    pooled.lost(id, &Error::new("ECONNRESET", "gone"));
    assert_eq!(reports(&mut pooled), ["lost", "answer", "released false"]);
    assert_eq!((pooled.sessions.pinned, pooled.sessions.slots.are_gone()), (0, true));
    // What its task reports then is of no interest.
    pooled.done(id, Ok(true));
    pooled.lost(id, &Error::new("ECONNRESET", "gone"));
    assert!(reports(&mut pooled).is_empty());
}

#[test]
fn a_connection_found_dead_is_followed_by_another_where_nothing_was_asked_of_it() {
    let mut pooled = Pooled::new(2);
    let id = hold(&mut pooled, KEY);
    pooled.route(release(KEY, id));
    begin(&mut pooled, id);
    pooled.done(id, Ok(true));
    reports(&mut pooled);
    pooled.route(try_step(KEY, false));
    pooled.lost(id, &Error::new("ECONNRESET", "gone"));
    assert_eq!((reports(&mut pooled), pooled.sessions.pinned), (vec!["lost".to_owned()], 1));
    // What the next one is asked may be the reason of its end.
    let next = opened(&mut pooled);
    assert!(matches!(begin(&mut pooled, next), Some(Job::Pin { .. })));
    pooled.lost(next, &Error::new("ECONNRESET", "gone"));
    assert_eq!(
        (reports(&mut pooled), pooled.sessions.pinned),
        (vec!["lost".to_owned(), "failed ECONNRESET".to_owned()], 0)
    );
}

#[test]
fn a_connection_that_cannot_be_had_is_told_unless_it_may_be_had_later() {
    for (code, expected) in [("53300", None), ("ECONNREFUSED", Some("failed ECONNREFUSED"))] {
        let mut pooled = Pooled::new(2);
        let cause = Error::new(code, "no connection");
        pooled.route(wait(KEY));
        assert!(pooled.look_round().is_some());
        let id = opened(&mut pooled);
        pooled.open_failed(id, &cause);
        assert_eq!(reports(&mut pooled), Vec::from_iter(expected));
        assert_eq!(pooled.waits.is_empty(), expected.is_some());
        // It is not asked for again at once.
        assert!(!pooled.is_looking && !pooled.waits.is_due(Instant::now()));
        pooled.route(try_step(Key::Pair(5, 6), false));
        let id = opened(&mut pooled);
        pooled.open_failed(id, &cause);
        assert_eq!(reports(&mut pooled), [format!("failed {code}")]);
        assert_eq!(pooled.sessions.pinned, 0);
    }
}

#[test]
fn waits_are_told_of_connections_that_are_lost_again_and_again() {
    let mut pooled = Pooled::new(2);
    pooled.route(wait(KEY));
    let mut told = Vec::new();
    for _ in 0..=super::outcomes::MOST_LOSSES {
        assert!(told.is_empty());
        std::thread::sleep(pooled.waits.pause(Instant::now()));
        assert!(pooled.look_round().is_some());
        let id = opened(&mut pooled);
        begin(&mut pooled, id);
        pooled.lost(id, &Error::new("08P01", "no PostgreSQL"));
        told = reports(&mut pooled);
        told.retain(|report| report != "lost");
    }
    assert_eq!(told, ["failed 08P01"]);
}
