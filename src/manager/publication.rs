//! Names in the database: when a session says what it holds, and what that is.
//!
//! It is said with a sign of life, so a lock costs nothing for it: once the session has not been used for a moment, and then as often
//! as signs of life are asked for. A session that is used all the time says it no more often than that.

use super::slot::Slot;
use super::state::State;
use crate::core::{Key, Name, Names, SessionId};
use crate::pg::HeldNames;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
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

impl Slot {
    /// How long it is until the session is to say what it holds, if it holds something.
    pub(super) fn publication_due(&self, heartbeat: Duration) -> Duration {
        let now = Instant::now();
        if self.published >= self.idle_since {
            return Duration::MAX;
        }
        (self.idle_since + MOMENT).min(self.published + heartbeat).saturating_duration_since(now)
    }
}

impl State {
    /// What the session is to say of its locks; nothing where nobody has a name for any of them.
    pub(super) fn held_names(&mut self, id: SessionId) -> Option<HeldNames> {
        if !self.publish_names {
            return None;
        }
        let slot = self.sessions.slots.get_mut(&id)?;
        slot.published = Instant::now();
        let mut known = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.table.keys_on(id).take(MOST_KEYS);
        let names: Vec<Arc<Name>> = keys.filter_map(|key| known.find(key)).collect();
        let others = self.table.key_count_on(id).saturating_sub(names.len());
        (!names.is_empty()).then_some(HeldNames { names, others })
    }
}
