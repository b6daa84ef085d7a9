//! Names in the database: when a session says what it holds, and what that is.
//!
//! It is said with a sign of life, so a lock costs nothing for it: once the session has not been used for a moment, and then as often
//! as signs of life are asked for. A session that is used all the time says it no more often than that.

use super::slot::Slot;
use crate::core::lock_table::LockTable;
use crate::core::{Key, Name, Names, SessionId};
use crate::pg::HeldNames;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After so long without use a session says what it holds.
const MOMENT: Duration = Duration::from_millis(500);
/// So many keys are looked at: the comment has no room for more.
const MOST_KEYS: usize = 256;

/// The names that the threads of this process have for keys.
static NAMES: LazyLock<Mutex<Names>> = LazyLock::new(Mutex::default);

/// Remembers what a key is called: the name that it is made of, or that of a semaphore of which it is a part.
pub fn remember_name(key: Key, name: &str, part: Option<&str>) {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner).remember(key, name, part);
}

/// How long it is until a session that holds something is to say what.
pub(super) fn time_until_due(slot: &Slot, heartbeat: Duration) -> Duration {
    if slot.published >= slot.idle_since {
        return Duration::MAX;
    }
    (slot.idle_since + MOMENT).min(slot.published + heartbeat).saturating_duration_since(Instant::now())
}

/// What the session says now of its locks; nothing where nobody has a name for any of them.
pub(super) fn held_names(id: SessionId, slot: &mut Slot, table: &LockTable) -> Option<HeldNames> {
    slot.published = Instant::now();
    let mut known = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = table.keys_on(id).take(MOST_KEYS);
    let names: Vec<Name> = keys.filter_map(|key| known.find(key)).collect();
    let others = table.key_count_on(id).saturating_sub(names.len());
    (!names.is_empty()).then_some(HeldNames { names, others })
}
