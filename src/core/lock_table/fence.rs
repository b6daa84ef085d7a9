//! What is kept of a fenced hold.

use crate::core::Key;

/// The fence of a hold.
#[derive(Debug)]
pub(super) struct Fence {
    /// The key that only this hold has.
    pub own_key: Key,
    /// Whoever could have had the key before the hold is waited for.
    pub is_complete: bool,
}
