//! The two key spaces of PostgreSQL's advisory locks.

use sha2::{Digest, Sha256};
use std::fmt;

/// What is locked. PostgreSQL keeps pairs and single keys apart: `Pair(0, 1)` and `Single(1)` never conflict
/// (manual, section 9.28.10, "Advisory Lock Functions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// `pg_advisory_lock(key1 int, key2 int)`.
    Pair(i32, i32),
    /// `pg_advisory_lock(key bigint)`.
    Single(i64),
}

impl Key {
    /// The key of a name, the same as that of the npm package `advisory-lock`: the first two words of its SHA-256, read as
    /// little-endian integers.
    #[must_use]
    pub fn of_name(name: &str) -> Key {
        let digest = Sha256::digest(name);
        let word = |at: usize| i32::from_le_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
        Key::Pair(word(0), word(4))
    }

    /// The single key with these halves.
    #[must_use]
    pub fn single(high: i32, low: i32) -> Key {
        Key::Single((i64::from(high) << 32) | (i64::from(low) & 0xffff_ffff))
    }

    /// The two 32-bit halves as `pg_locks` shows them in `classid` and `objid`, read as signed integers.
    #[must_use]
    pub fn halves(self) -> (i32, i32) {
        match self {
            Key::Pair(high, low) => (high, low),
            // Truncation is the point: the low half keeps its bits.
            #[allow(clippy::cast_possible_truncation)]
            Key::Single(key) => ((key >> 32) as i32, key as i32),
        }
    }

    /// `objsubid` in `pg_locks`: 2 for a pair, 1 for a single key.
    #[must_use]
    pub fn space(self) -> i16 {
        match self {
            Key::Pair(..) => 2,
            Key::Single(_) => 1,
        }
    }

    /// The key that `pg_locks` shows as these halves; `None` where `space` is no advisory key's.
    #[must_use]
    pub fn from_halves(high: i32, low: i32, space: i16) -> Option<Key> {
        match space {
            2 => Some(Key::Pair(high, low)),
            1 => Some(Key::single(high, low)),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Pair(high, low) => write!(formatter, "[{high}, {low}]"),
            Key::Single(key) => write!(formatter, "{key}n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn names_have_the_keys_of_the_original() {
        assert_eq!(Key::of_name("test-lock"), Key::Pair(-107_789_403, -1_898_803_861));
        // SHA-256 of nothing begins with e3b0c442 98fc1c14.
        assert_eq!(Key::of_name("").halves(), (0x42c4_b0e3, 0x141c_fc98));
    }

    #[test]
    fn halves_round_trip() {
        for key in [
            Key::Pair(0, 0),
            Key::Pair(i32::MIN, i32::MAX),
            Key::Pair(-1, 1),
            Key::Single(0),
            Key::Single(-1),
            Key::Single(i64::MIN),
            Key::Single(i64::MAX),
            Key::Single(0x0000_0001_8000_0000),
        ] {
            let (high, low) = key.halves();
            assert_eq!(Key::from_halves(high, low, key.space()), Some(key));
        }
        assert_eq!(Key::from_halves(1, 2, 3), None);
    }
}
