//! What a look through a pooler tells of a key: whether it is worth a try.

use crate::core::{Key, Mode};
use crate::error::Error;
use crate::pg::session::row::Row;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a look has seen of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It looks free.
    Free,
    /// It is taken, or somebody goes first.
    Taken {
        /// By whom, as a number: another one tells of other transactions.
        by: u64,
        /// How many wait for it in the server's queue.
        awaited: usize,
    },
}

/// A lock as [`LOOK`](crate::pg::sql::pooled::LOOK) tells it.
pub(super) struct Lock {
    key: (u32, u32, i16),
    is_exclusive: bool,
    is_held: bool,
    transaction: String,
}

impl Lock {
    pub fn read(row: &Row) -> Result<Lock, Error> {
        Ok(Lock {
            key: (row.get(0)?, row.get(1)?, row.get(2)?),
            is_exclusive: row.get::<String>(3)? == "ExclusiveLock",
            is_held: row.get(4)?,
            transaction: row.try_get(5)?.unwrap_or_default(),
        })
    }
}

/// What there is to be seen of the key by who wants it in this mode.
pub(super) fn see(locks: &[Lock], key: Key, mode: Mode) -> Seen {
    let (high, low) = key.halves();
    let key = (unsigned(high), unsigned(low), key.space());
    let of_key = || locks.iter().filter(|lock| lock.key == key);
    if !of_key().any(|lock| lock.is_exclusive || mode == Mode::Exclusive) {
        return Seen::Free;
    }
    let mut holders: Vec<&str> = of_key().filter(|lock| lock.is_held).map(|lock| lock.transaction.as_str()).collect();
    holders.sort_unstable();
    let mut hasher = DefaultHasher::new();
    holders.hash(&mut hasher);
    Seen::Taken { by: hasher.finish(), awaited: of_key().filter(|lock| !lock.is_held).count() }
}

/// As PostgreSQL shows the halves of keys.
pub(super) const fn unsigned(half: i32) -> u32 {
    half.cast_unsigned()
}
