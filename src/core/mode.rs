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

/// The modes in which a session holds one key: none, either, or both, as after an upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Modes {
    /// Held exclusively.
    pub exclusive: bool,
    /// Held shared.
    pub shared: bool,
}

impl Modes {
    /// Not held at all.
    pub const NONE: Modes = Modes { exclusive: false, shared: false };

    /// Held in this mode alone.
    #[must_use]
    pub const fn only(mode: Mode) -> Modes {
        match mode {
            Mode::Exclusive => Modes { exclusive: true, shared: false },
            Mode::Shared => Modes { exclusive: false, shared: true },
        }
    }

    /// Whether this mode is one of them.
    #[must_use]
    pub const fn contains(self, mode: Mode) -> bool {
        match mode {
            Mode::Exclusive => self.exclusive,
            Mode::Shared => self.shared,
        }
    }

    /// The same with this mode added or taken out.
    #[must_use]
    pub const fn with(self, mode: Mode, held: bool) -> Modes {
        match mode {
            Mode::Exclusive => Modes { exclusive: held, ..self },
            Mode::Shared => Modes { shared: held, ..self },
        }
    }

    /// The modes that both have.
    #[must_use]
    pub const fn intersection(self, other: Modes) -> Modes {
        Modes { exclusive: self.exclusive && other.exclusive, shared: self.shared && other.shared }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.exclusive && !self.shared
    }

    /// The modes, the exclusive one first.
    pub fn iter(self) -> impl Iterator<Item = Mode> {
        [Mode::Exclusive, Mode::Shared].into_iter().filter(move |&mode| self.contains(mode))
    }
}
