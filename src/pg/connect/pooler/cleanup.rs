//! What is still to be undone in a backend that others may be lent next.

use super::access::Pooler;
use crate::notice;
use crate::pg::connect::setup::setting_names;
use crate::pg::session::call::Parameter;
use crate::pg::session::wire::Wire;
use crate::pg::sql;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_postgres::types::Type;

/// It is run, or dismissed where nothing is left to be undone, or else searched for when it is dropped: an attempt that fails or
/// runs out of time leaves nothing behind.
#[must_use]
pub(in crate::pg) struct Cleanup {
    remains: Remains,
    /// None: it is done, or dismissed.
    pooler: Option<Arc<Pooler>>,
}

#[derive(Clone, Debug)]
struct Remains {
    pid: i32,
    /// The lock by which the backend is kept.
    pin: Option<i64>,
    /// Of the session that is or will be set up there: what is found under it is all to be undone, be it locks,
    /// settings or itself.
    fingerprint: Option<String>,
}

impl Cleanup {
    /// Nothing in a backend so far.
    pub fn none(pooler: &Arc<Pooler>, pid: i32) -> Cleanup {
        Cleanup { remains: Remains { pid, pin: None, fingerprint: None }, pooler: Some(Arc::clone(pooler)) }
    }

    /// The lock by which a backend is kept.
    pub fn pin(pooler: &Arc<Pooler>, pid: i32, key: i64) -> Cleanup {
        Cleanup { remains: Remains { pid, pin: Some(key), fingerprint: None }, pooler: Some(Arc::clone(pooler)) }
    }

    /// And all that the session with this fingerprint leaves there.
    pub fn of_session(mut self, fingerprint: &str) -> Cleanup {
        self.remains.fingerprint = Some(fingerprint.to_owned());
        self
    }

    /// The backend's process id.
    pub fn pid(&self) -> i32 {
        self.remains.pid
    }

    /// Nothing is left to be undone, or somebody else sees to it.
    pub fn dismiss(mut self) {
        self.pooler = None;
    }

    /// Undoes it, by the session itself where that is still served by the backend; else that is searched for meanwhile.
    pub async fn run(self, ours: &Wire) {
        if self.remains.is_nothing() || self.is_done_by(ours).await == Some(true) {
            self.dismiss();
        }
    }

    /// Has it undone where a connection is served by the backend; whether it is.
    pub async fn is_done_by(&self, wire: &Wire) -> Option<bool> {
        let pooler = self.pooler.as_ref()?;
        pooler.is_done(wire, sql::UNDO, &self.remains.parameters(&setting_names())).await
    }

    /// Looks for the backend, and undoes it there.
    ///
    /// # Cancel safety
    /// The search goes on.
    pub async fn search(mut self) {
        if let Some(pooler) = self.pooler.clone() {
            self.remains.search(&pooler).await;
        }
        self.pooler = None;
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let Some(pooler) = self.pooler.take().filter(|_| !self.remains.is_nothing()) else { return };
        let remains = self.remains.clone();
        // Without a runtime the process is at its end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { remains.search(&pooler).await });
        }
    }
}

impl Remains {
    fn is_nothing(&self) -> bool {
        self.pin.is_none() && self.fingerprint.is_none()
    }

    fn parameters<'a>(&'a self, names: &'a Vec<&'static str>) -> [Parameter<'a>; 4] {
        let Remains { pid, pin, fingerprint } = self;
        [(pid, Type::INT4), (fingerprint, Type::TEXT), (names, Type::TEXT_ARRAY), (pin, Type::INT8)]
    }

    async fn search(&self, pooler: &Pooler) {
        notice::trace(|| format!("backend {}: looked for, to undo what was done there", self.pid));
        let is_done = pooler.find(sql::UNDO, &self.parameters(&setting_names())).await;
        let outcome = if is_done { "found, and left as it was" } else { "not found again" };
        notice::trace(|| format!("backend {}: {outcome}", self.pid));
    }
}
