//! Poolers between a session and the server. One that lends each client a server session of its own is as good as none; one
//! that shares server sessions between clients makes locks exclude nobody, and has to be found out before they are relied on.
//!
//! Whoever stands between is known by the process id for requests to cancel, which is not the backend's, or by the fingerprint of
//! another session in the backend. Neither proves anything but that it has to be looked at: a second session is asked for,
//! and both are asked who serves them. A pooler may share sessions but for those that hold an advisory lock: there a lock is
//! held for as long as the session lasts. What comes out later, as an answer comes from another backend, has done nothing there.

mod access;
mod cleanup;
mod search;

pub(in crate::pg) use access::Pooler;
pub(in crate::pg) use cleanup::Cleanup;

use crate::error::Error;
use crate::pg::backend::Backend;
use crate::pg::connect::setup::Expected;
use crate::pg::fault::Fault;
use crate::pg::session::wire::Wire;
use crate::pg::sql;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;

/// A pooler that shares sessions has one at hand. One that does not may have none left, and lets us wait.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// Milliseconds before each time that both sessions are asked.
const PAUSES: [u64; 5] = [0, 2, 5, 10, 20];
impl Pooler {
    /// The backend that is left to our session for as long as it lasts; what is to be undone there if the session comes to nothing.
    ///
    /// `are_shared`: backends are known to be shared, if not by this session.
    ///
    /// # Errors
    /// `ERR_TRANSACTION_POOLING`: there is none. What the server says.
    ///
    /// # Cancel safety
    /// What is left in a backend is looked for and undone.
    pub async fn backend_of(self: &Arc<Self>, ours: &Wire, are_shared: bool) -> Result<(Expected, Cleanup), Error> {
        let mut found = self.find_backend(ours, are_shared).await?;
        if found.is_none() && !are_shared {
            found = self.find_backend(ours, true).await?;
        }
        found.ok_or_else(Error::transaction_pooling)
    }

    /// The same; nothing where the session is served by one backend and then another.
    async fn find_backend(
        self: &Arc<Self>,
        ours: &Wire,
        are_shared: bool,
    ) -> Result<Option<(Expected, Cleanup)>, Error> {
        let row = self.ask(ours, sql::LOCK_COUNT, &[]).await.map_err(Fault::into_error)?;
        let (mut pid, mut locks) = (row.get::<i32>(0)?, row.get::<i64>(1)?);
        // Somebody has them who may be served there again with the next statement, or is gone and has left them for ever.
        if locks > 0 {
            return Err(Error::transaction_pooling());
        }
        let mut cleanup = Cleanup::none(self, pid);
        // Where there is no second session to be had nothing can be told.
        let limit = if are_shared { self.patience.answer } else { PROBE_LIMIT };
        if let Some(other) = timeout(limit, self.connect()).await.ok().flatten() {
            if are_shared || self.are_mixed_up(ours, pid, &other.wire).await == Some(true) {
                cleanup = self.kept_for_holders(ours, &other.wire).await?;
                pid = cleanup.pid();
                locks = 1;
            }
            other.close().await;
        }
        let answer = self.ask(ours, sql::SERVED_BY, &[]).await.map_err(Fault::into_error);
        let served_by = answer.and_then(|row| Ok((row.get::<i32>(0)?, row.try_get::<String>(1)?.unwrap_or_default())));
        match served_by {
            Ok((served_by, fingerprint)) if served_by == pid => {
                let expected = Expected { backend: Backend { pid, fingerprint }, most_locks: Some(locks) };
                Ok(Some((expected, cleanup)))
            }
            other => {
                cleanup.run(ours).await;
                other.map(|_| None)
            }
        }
    }

    /// Whether either session is served by several backends, or both are by the same.
    ///
    /// A pooler that shares lends the backend that has been free for the shortest time: asked in turn, both get the
    /// same one, unless somebody else comes between, which will not happen each time. Or it lends one after the other:
    /// two in turn would get two in turn, were ours not asked twice.
    async fn are_mixed_up(&self, ours: &Wire, pid: i32, other: &Wire) -> Option<bool> {
        let mut seen = None;
        for pause in PAUSES {
            sleep(Duration::from_millis(pause)).await;
            let (first, others) = (self.served_by(ours).await?, self.served_by(other).await?);
            let ours = [first, self.served_by(ours).await?];
            if ours != [pid; 2] || others == pid || *seen.get_or_insert(others) != others {
                return Some(true);
            }
        }
        Some(false)
    }

    /// A lock in the backend that is left to our session while it holds one there, as it does from now on.
    async fn kept_for_holders(self: &Arc<Self>, ours: &Wire, other: &Wire) -> Result<Cleanup, Error> {
        let pin = self.pin(ours).await?;
        for pause in PAUSES {
            sleep(Duration::from_millis(pause)).await;
            // Whoever shares the backend gives the lock back by the very question.
            let is_shared = pin.is_done_by(other).await;
            if is_shared == Some(false) && self.served_by(ours).await == Some(pin.pid()) {
                continue;
            }
            if is_shared == Some(true) {
                pin.dismiss();
            } else {
                pin.run(ours).await;
            }
            return Err(Error::transaction_pooling());
        }
        Ok(pin)
    }

    /// Takes a lock that nobody else has.
    async fn pin(self: &Arc<Self>, wire: &Wire) -> Result<Cleanup, Error> {
        let mut chance = [0; 8];
        getrandom::fill(&mut chance).map_err(|error| Error::system(&error.into(), None))?;
        let key = i64::from_ne_bytes(chance);
        let row = self.ask(wire, sql::PIN, &[(&key, Type::INT8)]).await.map_err(Fault::into_error)?;
        Ok(Cleanup::pin(self, row.get(0)?, key))
    }

    /// Leaves a session's backend as it was before, which this connection may not have any more: locks, settings, the
    /// fingerprint. A connection that is gone has none that others could get.
    pub async fn give_back(self: &Arc<Self>, ours: &Wire, backend: &Backend) {
        let cleanup = Cleanup::none(self, backend.pid).of_session(&backend.fingerprint);
        match cleanup.is_done_by(ours).await {
            // Whoever closes waits for it as for an answer; then the search goes on.
            Some(false) => drop(timeout(self.patience.answer, cleanup.search()).await),
            _ => cleanup.dismiss(),
        }
    }

    /// The same where backends are known to be shared: what is left there is there for others, whatever becomes of this connection.
    pub async fn give_back_shared(self: &Arc<Self>, ours: &Wire, backend: &Backend) {
        Cleanup::none(self, backend.pid).of_session(&backend.fingerprint).run(ours).await;
    }
}
