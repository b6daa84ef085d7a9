//! Sessions that may be gone for all that is known here: after the process has stood still, nothing may give or take a lock of
//! theirs before what has arrived meanwhile is read, and where nothing has, before it is known that they are there.
//!
//! Their tasks find out by themselves, but all threads go on in the same moment, and the tasks may come last.

use super::pooled::Pooled;
use super::sessions::Sessions;
use crate::core::lock_table::LockTable;
use crate::pg::{clock, Wire};
use std::time::{Duration, Instant};

/// How long a look at what has arrived counts. A process that has stood still has not looked for longer.
const LOOK_PERIOD: Duration = Duration::from_millis(1);
/// How often is looked for sessions in doubt. Sessions with locks show a sign of life more often than they must.
const PERIOD: Duration = Duration::from_millis(100);
/// How long all sessions together may take to show that they are there.
const MOST_PROOF_TIME: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// When was looked at what has arrived, by [`crate::pg::clock`].
    looked: Duration,
    /// When was looked for sessions in doubt.
    checked: Duration,
}

impl Liveness {
    /// Finds out whether each session with locks is still there: reads what has arrived, and asks where the last sign of life does
    /// not promise it any more. That takes a moment, which may be after a pause of many seconds only. Whether it was looked.
    pub fn check(&mut self, sessions: &mut Sessions, pooled: Option<&mut Pooled>, table: &LockTable) -> bool {
        let now = clock::now();
        if now.saturating_sub(self.looked) < LOOK_PERIOD {
            return false;
        }
        self.looked = now;
        let is_due = now.saturating_sub(self.checked) >= PERIOD;
        if is_due {
            self.checked = now;
        }
        if let Some(pooled) = pooled {
            pooled.check_liveness(is_due);
            return true;
        }
        let holding = sessions.slots.wires_where(|id, _| table.key_count_on(id) > 0);
        let is_doubtful = |wire: &Wire| is_due && wire.is_doubtful();
        // All of them are asked before one is waited for.
        holding.iter().filter(|(_, wire)| is_doubtful(wire)).for_each(|(_, wire)| wire.begin_proof());
        let deadline = Instant::now() + MOST_PROOF_TIME;
        for (id, wire) in &holding {
            let (answered, is_there) = if is_doubtful(wire) { wire.prove(deadline) } else { wire.look() };
            sessions.answered(*id, answered);
            if let Err(cause) = is_there {
                sessions.lost(*id, &cause, table);
            }
        }
        !holding.is_empty()
    }
}
