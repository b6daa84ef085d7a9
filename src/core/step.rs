//! What a session does to one key without ever blocking: the words in which the lock table asks for it and in which it
//! reaches the wire, and what a failed statement has left of it.
//!
//! How a step becomes SQL is not known here. Invariant: of a failed batch nothing stays locked that nobody is told of.

use super::key::Key;
use super::mode::{Mode, Modes};

/// A unit of work that never blocks. Keys within one batch do not repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take the key if it is free. Answer: whether it was.
    Try {
        /// The key.
        key: Key,
        /// The mode to take it in.
        mode: Mode,
    },
    /// Give the key up. Answer: whether it was held.
    Release {
        /// The key.
        key: Key,
        /// How it is held.
        held: Modes,
    },
    /// Give the key up and try for it again, behind whoever waits for it by now. Answer: whether it was free.
    Requeue {
        /// The key.
        key: Key,
        /// How it is held.
        held: Modes,
        /// The mode to try for.
        mode: Mode,
    },
    /// Keep the key shared only, without a gap. Answer: `true`.
    Downgrade {
        /// The key, held exclusively.
        key: Key,
        /// Whether it is not held shared yet.
        take_shared: bool,
    },
}

impl Step {
    /// The key that it is about.
    #[must_use]
    pub const fn key(self) -> Key {
        match self {
            Step::Try { key, .. }
            | Step::Release { key, .. }
            | Step::Requeue { key, .. }
            | Step::Downgrade { key, .. } => key,
        }
    }

    /// Whether it may take a key that its session does not hold.
    #[must_use]
    pub const fn is_try(self) -> bool {
        matches!(self, Step::Try { .. } | Step::Requeue { .. })
    }
}

/// What has become of a step of a batch that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Salvaged {
    /// It is done, with this answer.
    Done(bool),
    /// The error is its own.
    Failed,
    /// It was not done, and the error may be another step's: this is to be done, in a statement of its own.
    Again(Step),
}

/// Session locks survive a failed statement, so that any part of its batch may be done, in the order of its rows.
/// Concludes from what the session holds now, `held` by key, what has become of each step of `batches` that failed; and what
/// is held for nobody and must be given back before anything else is done to these keys.
#[must_use]
pub fn salvage(batches: &[Vec<Step>], held: impl Fn(Key) -> Modes) -> (Vec<Vec<Salvaged>>, Vec<Step>) {
    let mut left_over = Vec::new();
    let salvaged = batches
        .iter()
        .map(|steps| {
            let is_alone = steps.len() == 1;
            steps.iter().map(|&step| salvage_step(step, is_alone, held(step.key()), &mut left_over)).collect()
        })
        .collect();
    (salvaged, left_over)
}

/// `held`: what the session holds of its key now.
fn salvage_step(step: Step, is_alone: bool, held: Modes, left_over: &mut Vec<Step>) -> Salvaged {
    let mut give_back = |held: Modes| {
        if !held.is_empty() {
            left_over.push(Step::Release { key: step.key(), held });
        }
    };
    // Which of several steps that are not done has failed is not to be seen: a denied try leaves nothing behind either.
    let not_done = |step| if is_alone { Salvaged::Failed } else { Salvaged::Again(step) };
    match step {
        Step::Try { mode, .. } if held.contains(mode) => Salvaged::Done(true),
        Step::Try { .. } => not_done(step),
        Step::Release { held: to_release, .. } => {
            give_back(to_release.intersection(held));
            Salvaged::Done(true)
        }
        Step::Requeue { mode, .. } if held == Modes::only(mode) => Salvaged::Done(true),
        Step::Requeue { key, mode, .. } => {
            give_back(held);
            // What has failed may be its release, though it stands alone.
            Salvaged::Again(Step::Try { key, mode })
        }
        Step::Downgrade { .. } if held.shared => {
            give_back(Modes { shared: false, ..held });
            Salvaged::Done(true)
        }
        Step::Downgrade { .. } => not_done(step),
    }
}

#[cfg(test)]
mod tests {
    use super::{salvage, Salvaged, Step};
    use crate::core::{Key, Mode, Modes};

    const KEY: Key = Key::Pair(1, 2);
    const OTHER: Step = Step::Try { key: Key::Pair(3, 4), mode: Mode::Exclusive };
    const BOTH: Modes = Modes { exclusive: true, shared: true };
    const X: Modes = Modes::only(Mode::Exclusive);
    const S: Modes = Modes::only(Mode::Shared);

    /// What becomes of `step`, beside another one, with this left of it; and what is given back.
    fn of(step: Step, now: Modes) -> (Salvaged, Vec<Step>) {
        let (salvaged, left_over) = salvage(&[vec![step, OTHER]], |key| if key == KEY { now } else { Modes::NONE });
        assert_eq!(salvaged[0][1], Salvaged::Again(OTHER));
        (salvaged[0][0], left_over)
    }

    fn release(held: Modes) -> Step {
        Step::Release { key: KEY, held }
    }

    #[test]
    fn a_try_that_has_the_lock_is_done_and_another_is_made_again() {
        for (mode, held) in [(Mode::Exclusive, X), (Mode::Shared, S)] {
            let step = Step::Try { key: KEY, mode };
            assert_eq!(of(step, held), (Salvaged::Done(true), vec![]));
            assert_eq!(of(step, Modes::NONE), (Salvaged::Again(step), vec![]));
        }
        // An upgrade that was not reached.
        let upgrade = Step::Try { key: KEY, mode: Mode::Exclusive };
        assert_eq!(of(upgrade, S), (Salvaged::Again(upgrade), vec![]));
    }

    #[test]
    fn a_step_alone_has_failed_by_itself() {
        let downgrade = Step::Downgrade { key: KEY, take_shared: true };
        let requeue = Step::Requeue { key: KEY, held: X, mode: Mode::Exclusive };
        let batches = [vec![OTHER], vec![downgrade], vec![release(S)]];
        let (salvaged, left_over) = salvage(&batches, |key| if key == KEY { X } else { Modes::NONE });
        assert_eq!(salvaged, [[Salvaged::Failed], [Salvaged::Failed], [Salvaged::Done(true)]]);
        assert_eq!(left_over, []);
        let again = Salvaged::Again(Step::Try { key: KEY, mode: Mode::Exclusive });
        assert_eq!(salvage(&[vec![requeue]], |_| Modes::NONE).0, [[again]]);
    }

    #[test]
    fn a_release_is_finished() {
        assert_eq!(of(release(BOTH), BOTH), (Salvaged::Done(true), vec![release(BOTH)]));
        assert_eq!(of(release(BOTH), S), (Salvaged::Done(true), vec![release(S)]));
        assert_eq!(of(release(BOTH), Modes::NONE), (Salvaged::Done(true), vec![]));
    }

    #[test]
    fn a_requeue_gives_both_modes_up() {
        let requeue = |mode| Step::Requeue { key: KEY, held: BOTH, mode };
        let again = |mode| Salvaged::Again(Step::Try { key: KEY, mode });
        assert_eq!(of(requeue(Mode::Exclusive), BOTH), (again(Mode::Exclusive), vec![release(BOTH)]));
        assert_eq!(of(requeue(Mode::Exclusive), S), (again(Mode::Exclusive), vec![release(S)]));
        assert_eq!(of(requeue(Mode::Exclusive), Modes::NONE), (again(Mode::Exclusive), vec![]));
        assert_eq!(of(requeue(Mode::Exclusive), X), (Salvaged::Done(true), vec![]));
        assert_eq!(of(requeue(Mode::Shared), BOTH), (again(Mode::Shared), vec![release(BOTH)]));
        assert_eq!(of(requeue(Mode::Shared), S), (Salvaged::Done(true), vec![]));
    }

    #[test]
    fn a_downgrade_is_finished_or_made_again() {
        let downgrade = |take_shared| Step::Downgrade { key: KEY, take_shared };
        assert_eq!(of(downgrade(true), X), (Salvaged::Again(downgrade(true)), vec![]));
        assert_eq!(of(downgrade(true), BOTH), (Salvaged::Done(true), vec![release(X)]));
        assert_eq!(of(downgrade(false), BOTH), (Salvaged::Done(true), vec![release(X)]));
        assert_eq!(of(downgrade(true), S), (Salvaged::Done(true), vec![]));
    }
}
