//! What is still to be undone in a backend that others may be lent next.

use super::access::Pooler;
use crate::notice;
use crate::pg::connect::setup::setting_names;
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

#[derive(Clone, Copy, Debug)]
struct Remains {
    pid: i32,
    /// The one lock that it is. None: all that a session leaves, which is locks, settings and the fingerprint.
    lock: Option<i64>,
}

impl Cleanup {
    /// One lock in a backend.
    pub fn lock(pooler: &Arc<Pooler>, pid: i32, key: i64) -> Cleanup {
        Cleanup { remains: Remains { pid, lock: Some(key) }, pooler: Some(Arc::clone(pooler)) }
    }

    /// All that a session leaves in a backend.
    pub fn everything(pooler: &Arc<Pooler>, pid: i32) -> Cleanup {
        Cleanup { remains: Remains { pid, lock: None }, pooler: Some(Arc::clone(pooler)) }
    }

    /// The backend's process id.
    pub fn pid(&self) -> i32 {
        self.remains.pid
    }

    /// Nothing is left to be undone, or another cleanup includes it.
    pub fn dismiss(mut self) {
        self.pooler = None;
    }

    /// Undoes it, by the session itself where that is still served by the backend.
    pub async fn run(self, ours: &Wire) {
        match self.is_done_by(ours).await {
            Some(true) => self.dismiss(),
            _ => self.search().await,
        }
    }

    /// Has it undone where a connection is served by the backend; whether it was.
    pub async fn is_done_by(&self, wire: &Wire) -> Option<bool> {
        self.remains.is_done_by(self.pooler.as_ref()?, wire).await
    }

    /// Looks for the backend, and undoes it there.
    pub async fn search(mut self) {
        if let Some(pooler) = self.pooler.clone() {
            self.remains.search(&pooler).await;
        }
        self.pooler = None;
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let (remains, Some(pooler)) = (self.remains, self.pooler.take()) else { return };
        // Without a runtime the process is at its end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { remains.search(&pooler).await });
        }
    }
}

impl Remains {
    async fn is_done_by(&self, pooler: &Pooler, wire: &Wire) -> Option<bool> {
        match self.lock {
            Some(key) => pooler.is_done(wire, sql::UNPIN, &[(&self.pid, Type::INT4), (&key, Type::INT8)]).await,
            None => {
                let names = setting_names();
                pooler.is_done(wire, sql::GIVE_BACK, &[(&self.pid, Type::INT4), (&names, Type::TEXT_ARRAY)]).await
            }
        }
    }

    async fn search(&self, pooler: &Pooler) {
        let is_done = match self.lock {
            Some(key) => pooler.find(sql::UNPIN, &[(&self.pid, Type::INT4), (&key, Type::INT8)]).await,
            None => {
                let names = setting_names();
                pooler.find(sql::GIVE_BACK, &[(&self.pid, Type::INT4), (&names, Type::TEXT_ARRAY)]).await
            }
        };
        if !is_done {
            notice::trace(|| format!("backend {}: not found again, to undo what was done there", self.pid));
        }
    }
}
