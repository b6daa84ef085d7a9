//! What one process tells another of its waits.

use crate::core::{Key, Mode};

/// Somebody in this process holds one key, and will not give it up before this process gets another one. Or somebody just
/// waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// What is held, if anything.
    pub held: Option<(Key, Mode)>,
    /// What somebody else must not hold for that; of an exclusive wait there is a link for either mode.
    pub in_the_way: (Key, Mode),
}
