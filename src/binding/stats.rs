//! How much there is at this moment.

use super::owner::Owner;
use napi_derive::napi;

#[napi]
impl Owner {
    /// How many sessions are open for owners with these settings.
    #[napi]
    pub fn sessions(&self) -> u32 {
        self.opened.as_ref().map_or(0, |(manager, _)| u32::try_from(manager.session_count()).unwrap_or(u32::MAX))
    }

    /// For how many milliseconds a request has waited; none where it does not, or no more.
    #[napi]
    pub fn waited(&self, id: f64) -> Option<f64> {
        let (manager, _) = self.opened.as_ref().ok()?;
        Some(manager.waited(self.request(id))?.as_secs_f64() * 1000.0)
    }
}
