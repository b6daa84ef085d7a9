//! Sessions that may be gone for all that they have shown: after the process has stood still, nothing may give or take a lock of
//! theirs before that is known.
//!
//! Their tasks find out by themselves, but all threads go on in the same moment, and the tasks may come last.

use super::state::State;
use crate::core::SessionId;
use crate::pg::{clock, Wire};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often is looked. Sessions with locks show a sign of life more often than they must.
const PERIOD: Duration = Duration::from_millis(100);
/// How long all sessions together may take to show that they are there.
const MOST_PROOF_TIME: Duration = Duration::from_millis(250);

impl State {
    /// Finds out whether each session with locks is still there whose last sign of life does not promise it any more. Takes a
    /// moment where that is so, which may be after a pause of many seconds only.
    pub fn settle_doubts(&mut self) {
        let now = clock::now();
        if now.saturating_sub(self.doubts_settled) < PERIOD {
            return;
        }
        self.doubts_settled = now;
        if let Some(pooled) = &mut self.pooled {
            pooled.settle_doubts();
            return self.dispatch_operations();
        }
        let is_doubtful = |wire: &&Arc<Wire>| wire.is_doubtful();
        let doubtful: Vec<(SessionId, Arc<Wire>)> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.held > 0)
            .filter_map(|(&id, slot)| Some((id, Arc::clone(slot.wire.as_ref().filter(is_doubtful)?))))
            .collect();
        doubtful.iter().for_each(|(_, wire)| wire.begin_proof());
        let deadline = Instant::now() + MOST_PROOF_TIME;
        for (id, wire) in doubtful {
            let (answered, proved) = wire.prove(deadline);
            self.answered(id, answered);
            if let Err(cause) = proved {
                self.lost(id, Vec::new(), &cause);
            }
        }
    }
}
