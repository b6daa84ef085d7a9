//! How much there is at this moment.

use super::owner::Owner;
use super::panics::{thrown, Code};
use napi_derive::napi;

#[napi]
impl Owner {
    /// How many sessions are open for owners with these settings.
    #[napi(catch_unwind)]
    pub fn sessions(&self) -> napi::Result<u32, Code> {
        let Ok((manager, _)) = &self.opened else { return Ok(0) };
        thrown(manager, || u32::try_from(manager.session_count()).unwrap_or(u32::MAX))
    }

    /// For how many milliseconds a request has waited; none where it does not, or no more.
    #[napi(catch_unwind)]
    pub fn waited(&self, id: f64) -> napi::Result<Option<f64>, Code> {
        let Ok((manager, _)) = &self.opened else { return Ok(None) };
        thrown(manager, || Some(manager.waited(self.request(id))?.as_secs_f64() * 1000.0))
    }
}
