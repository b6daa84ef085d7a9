//! Units of work that never block, and the rows by which a statement does them.

use crate::core::{Key, Mode};
use crate::pg::sql::Action;

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
        /// Held exclusively.
        exclusive: bool,
        /// Held shared.
        shared: bool,
    },
    /// Give the key up and try for it again. Answer: whether it was free.
    Cycle {
        /// The key.
        key: Key,
        /// Held exclusively.
        exclusive: bool,
        /// Held shared.
        shared: bool,
        /// The mode to try for.
        mode: Mode,
    },
    /// Keep the key shared only. Answer: `true`.
    Downgrade {
        /// The key, held exclusively.
        key: Key,
        /// Whether it is not held shared yet.
        take_shared: bool,
    },
}

impl Step {
    /// Adds the rows that do the step, in order.
    pub(in crate::pg) fn push_rows(&self, rows: &mut Vec<(Action, Key)>) {
        let mut push_release = |key, exclusive, shared| {
            if exclusive {
                rows.push((Action::Unlock(Mode::Exclusive), key));
            }
            if shared {
                rows.push((Action::Unlock(Mode::Shared), key));
            }
        };
        match *self {
            Step::Try { key, mode } => rows.push((Action::Try(mode), key)),
            Step::Release { key, exclusive, shared } => push_release(key, exclusive, shared),
            Step::Cycle { key, exclusive, shared, mode } => {
                push_release(key, exclusive, shared);
                rows.push((Action::Try(mode), key));
            }
            Step::Downgrade { key, take_shared } => {
                if take_shared {
                    rows.push((Action::LockShared, key));
                }
                rows.push((Action::Unlock(Mode::Exclusive), key));
            }
        }
    }

    /// Takes the answers of its rows for the step's own; `None` if there are too few.
    pub(in crate::pg) fn answer(&self, rows: &mut impl Iterator<Item = bool>) -> Option<bool> {
        match *self {
            Step::Try { .. } => rows.next(),
            Step::Release { exclusive, shared, .. } => {
                let exclusive = !exclusive || rows.next()?;
                let shared = !shared || rows.next()?;
                Some(exclusive && shared)
            }
            Step::Cycle { exclusive, shared, .. } => {
                for _ in 0..usize::from(exclusive) + usize::from(shared) {
                    rows.next()?;
                }
                rows.next()
            }
            Step::Downgrade { take_shared, .. } => {
                let taken = !take_shared || rows.next()?;
                let given_up = rows.next()?;
                Some(taken && given_up)
            }
        }
    }
}

/// A batch, to be read.
pub(in crate::pg) fn describe(steps: &[Step]) -> String {
    let mut rows = Vec::new();
    for step in steps {
        step.push_rows(&mut rows);
    }
    let described: Vec<String> = rows.iter().map(|(action, key)| format!("{action} {key}")).collect();
    described.join(", ")
}
