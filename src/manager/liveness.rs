//! Sessions that may be gone for all that they have shown: after the process has stood still, nothing may give or take a lock of
//! theirs before that is known.
//!
//! Their tasks find out by themselves, but all threads go on in the same moment, and the tasks may come last.

use super::pooled::Pooled;
use super::sessions::Sessions;
use super::slots::SessionSlot;
use crate::core::lock_table::LockTable;
use crate::core::SessionId;
use crate::pg::{clock, Wire};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often is looked. Sessions with locks show a sign of life more often than they must.
const PERIOD: Duration = Duration::from_millis(100);
/// How long all sessions together may take to show that they are there.
const MOST_PROOF_TIME: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// When was looked, by [`crate::pg::clock`].
    checked: Duration,
}

impl Liveness {
    /// Finds out whether each session with locks is still there whose last sign of life does not promise it any more. Takes a
    /// moment where that is so, which may be after a pause of many seconds only. Whether some were asked.
    pub fn check(&mut self, sessions: &mut Sessions, pooled: Option<&mut Pooled>, table: &LockTable) -> bool {
        let now = clock::now();
        if now.saturating_sub(self.checked) < PERIOD {
            return false;
        }
        self.checked = now;
        if let Some(pooled) = pooled {
            pooled.check_liveness();
            return true;
        }
        let is_doubtful = |wire: &&Arc<Wire>| wire.is_doubtful();
        let holding = sessions.slots.iter().filter(|&(id, _)| table.key_count_on(id) > 0);
        let doubtful: Vec<(SessionId, Arc<Wire>)> =
            holding.filter_map(|(id, slot)| Some((id, Arc::clone(slot.wire().filter(is_doubtful)?)))).collect();
        doubtful.iter().for_each(|(_, wire)| wire.begin_proof());
        let deadline = Instant::now() + MOST_PROOF_TIME;
        for (id, wire) in &doubtful {
            let (answered, proved) = wire.prove(deadline);
            sessions.answered(*id, answered);
            if let Err(cause) = proved {
                sessions.lost(*id, &cause, table);
            }
        }
        !doubtful.is_empty()
    }
}
