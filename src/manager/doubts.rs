//! Sessions that may be gone for all that they have shown: after the process has stood still, a call must not give or take a
//! lock of theirs before that is known.
//!
//! The I/O thread finds out by itself, but it goes on in the same moment as the caller's thread, and may come second.

use super::state::State;
use crate::core::SessionId;
use crate::pg::clock;
use std::sync::Arc;
use std::time::Duration;

/// How often is looked. Sessions with locks show a sign of life more often than they must.
const PERIOD: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Doubts {
    looked: Duration,
}

impl State {
    /// Finds out whether each session with locks is still there whose last sign of life does not promise it any more. Takes a
    /// moment where that is so, which may be after a pause of many seconds only.
    pub fn settle_doubts(&mut self) {
        let now = clock::now();
        if now.saturating_sub(self.doubts.looked) < PERIOD {
            return;
        }
        self.doubts.looked = now;
        let doubtful: Vec<SessionId> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.held > 0 && slot.wire.as_ref().is_some_and(|wire| wire.is_doubtful()))
            .map(|(&id, _)| id)
            .collect();
        for id in doubtful {
            let Some(wire) = self.slots.get(&id).and_then(|slot| slot.wire.as_ref()).map(Arc::clone) else { continue };
            let (answered, proved) = wire.prove();
            self.answered(id, answered);
            if let Err(cause) = proved {
                self.lost(id, Vec::new(), &cause);
            }
        }
    }
}
