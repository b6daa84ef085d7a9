//! Whether a session is still there: what promises it, and what is done where nothing does any more.

use super::pipeline::Recipient;
use super::silence::GRACE;
use super::state::State;
use super::{Wire, HEARTBEAT};
use crate::error::Error;
use crate::pg::clock;
use crate::pg::session::batch::Answered;
use std::time::Duration;

impl Wire {
    /// How long ago that was asked for which the server has last shown that it is there.
    #[must_use]
    pub fn age_of_proof(&self) -> Duration {
        self.lock().age_of_proof()
    }

    /// Whether the session may be gone and another may have its locks, for all that the server has shown.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.lacks_proof(&self.lock())
    }

    /// How long the server may take for a sign of life now: no longer than the last one promises that the session is there, but
    /// as long as an answer needs that is on its way.
    pub(in crate::pg) fn time_for_proof(&self) -> Duration {
        let left = self.patience.promise.saturating_sub(self.age_of_proof());
        left.min(self.patience.answer).max(GRACE)
    }

    /// Asks for a sign of life, for [`Wire::prove`].
    pub fn begin_proof(&self) {
        self.ask_for_proof(&mut self.lock());
    }

    /// Reads what has arrived, for whoever relies on the session, on any thread. What has become of batches is returned.
    ///
    /// # Errors
    /// Why the connection is over.
    pub fn look(&self) -> (Vec<Answered>, Result<(), Error>) {
        let mut answered = Vec::new();
        let mut state = self.lock();
        let read = self.read(&mut state, false);
        self.hand_out(&mut state, &mut answered);
        if read.more || state.has_to_write() {
            self.changed.notify_one();
        }
        let is_there = if state.is_over { Err(self.reason()) } else { Ok(()) };
        (answered, is_there)
    }

    /// Finds out by the deadline whether the session is still there; for whoever cannot go on without knowing, on any thread.
    /// What has become of batches is returned.
    ///
    /// # Errors
    /// `ETIMEDOUT` or why else the connection is over, as it is from then on.
    pub fn prove(&self, deadline: std::time::Instant) -> (Vec<Answered>, Result<(), Error>) {
        let mut answered = Vec::new();
        loop {
            let mut state = self.lock();
            if state.is_over {
                return (answered, Err(self.reason()));
            }
            self.read(&mut state, false);
            self.hand_out(&mut state, &mut answered);
            if state.is_over {
                return (answered, Err(self.reason()));
            }
            if !self.lacks_proof(&state) {
                return (answered, Ok(()));
            }
            self.ask_for_proof(&mut state);
            if std::time::Instant::now() >= deadline {
                let reason = self.silent(state.age_of_proof());
                self.end(&mut state, &reason);
                return (answered, Err(reason));
            }
            drop(state);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether the session may be gone and another may have its locks, for all that the server has shown.
    pub(super) fn lacks_proof(&self, state: &State) -> bool {
        state.age_of_proof() > self.patience.promise
    }

    /// Asks for a sign of life, unless something is under way that will be one.
    pub(super) fn ask_for_proof(&self, state: &mut State) {
        if state.is_over {
            return;
        }
        let now = clock::now();
        if state.pipeline.latest().is_none_or(|asked| now.saturating_sub(asked) > self.patience.promise) {
            self.ask_as(state, HEARTBEAT, &[], self.patience.answer, Recipient::Nobody);
        }
    }
}
