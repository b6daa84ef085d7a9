//! How much there is at this moment, counted when somebody asks.

use super::handle::Manager;
use crate::core::RequestId;
use std::time::Duration;

impl Manager {
    /// How many sessions are open.
    #[must_use]
    pub fn session_count(&self) -> usize {
        let state = self.lock();
        let pooled = state.pooled.as_ref().map_or(0, |pooled| pooled.sessions.slots.open_count());
        let looking = usize::from(state.looks.as_ref().is_some_and(|looks| looks.is_open));
        state.sessions.slots.open_count() + pooled + looking
    }

    /// For how long the request has waited; `None` where it does not, or no more.
    #[must_use]
    pub fn waited(&self, request: RequestId) -> Option<Duration> {
        let state = self.lock();
        let since = state.table.waits_since(request)?;
        Some(Duration::from_micros(state.now().saturating_sub(since)))
    }
}
