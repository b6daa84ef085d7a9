//! How a lock is held.

use std::fmt;

/// PostgreSQL's two modes of an advisory lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Conflicts with every hold of another owner.
    Exclusive,
    /// Conflicts with exclusive holds of other owners only.
    Shared,
}

impl Mode {
    /// Whether holds of the two modes by two owners exclude each other.
    #[must_use]
    pub fn conflicts_with(self, other: Mode) -> bool {
        self == Mode::Exclusive || other == Mode::Exclusive
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Mode::Exclusive => "exclusively",
            Mode::Shared => "shared",
        })
    }
}
