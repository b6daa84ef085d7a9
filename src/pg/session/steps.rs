//! The rows by which a statement does steps, and the answers of rows back to an answer for each step.

use crate::core::{Key, Mode, Modes, Step};
use crate::pg::sql::Action;

impl Step {
    /// Adds the rows that do the step, in order.
    pub(in crate::pg) fn push_rows(&self, rows: &mut Vec<(Action, Key)>) {
        let mut push_release = |key, held: Modes| rows.extend(held.iter().map(|mode| (Action::Unlock(mode), key)));
        match *self {
            Step::Try { key, mode } => rows.push((Action::Try(mode), key)),
            Step::Release { key, held } => push_release(key, held),
            Step::Requeue { key, held, mode } => {
                push_release(key, held);
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
            Step::Release { held, .. } => held.iter().try_fold(true, |all, _| Some(rows.next()? && all)),
            Step::Requeue { held, .. } => {
                for _ in held.iter() {
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

/// The same releases, of one mode each.
pub(super) fn each_alone(releases: &[Step]) -> impl Iterator<Item = Step> + '_ {
    let mut rows = Vec::new();
    releases.iter().for_each(|step| step.push_rows(&mut rows));
    rows.into_iter().filter_map(|(action, key)| match action {
        Action::Unlock(mode) => Some(Step::Release { key, held: Modes::only(mode) }),
        Action::Try(_) | Action::LockShared => None,
    })
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
