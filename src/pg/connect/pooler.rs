//! Poolers between a session and the server. One that lends each client a server session of its own is as good as none; one
//! that shares server sessions between clients makes locks exclude nobody, and has to be found out before they are relied on.
//!
//! Whoever stands between is known by the process id for requests to cancel, which is not the backend's, or by the mark of
//! another session in the backend. Neither proves anything but that it has to be looked at: a second session is asked for,
//! and both are asked who serves them. A pooler may share sessions but for those that hold an advisory lock: there a lock is
//! held for as long as the session lasts. What comes out later, as an answer comes from another backend, has done nothing there.

use crate::error::Error;
use crate::pg::backend::Backend;
use crate::pg::clock;
use crate::pg::connect::config::ConnectConfig;
use crate::pg::connect::dial::Route;
use crate::pg::connect::passwords::Given;
use crate::pg::connect::setup::{setting_names, Expected};
use crate::pg::connect::start::start;
use crate::pg::fault::Fault;
use crate::pg::session::call::{Parameter, Statement};
use crate::pg::session::driver::Driver;
use crate::pg::session::row::Row;
use crate::pg::session::wire::{Patience, Wire};
use crate::pg::sql;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;

/// A pooler that shares sessions has one at hand. One that does not may have none left, and lets us wait.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// Milliseconds before each time that both sessions are asked.
const PAUSES: [u64; 5] = [0, 2, 5, 10, 20];
/// How long before a backend is looked for again where something is to be done, at first and at the most: longer each time, and by
/// chance, so that two who search do not stand in each other's way for ever.
const NEXT_SEARCH: Duration = Duration::from_millis(20);
const LATEST_NEXT_SEARCH: Duration = Duration::from_millis(150);
/// How often: it may be gone.
const SEARCHES: u32 = 15;
/// So many server sessions are kept busy at a time to get at one among them: a pool has 20 by default, and lends the latest used first.
const MOST_OCCUPIED: usize = 32;
/// And so long at the most another one is waited for meanwhile, at first and later.
const MOST_WAIT: Duration = Duration::from_millis(100);
const LATER_MOST_WAIT: Duration = Duration::from_secs(1);

/// Whoever stands between a session and the server, if anybody does: the way to another session there.
pub(in crate::pg) struct Pooler {
    pub config: ConnectConfig,
    pub password: Given,
    pub route: Route,
    pub patience: Patience,
}

/// A lock that is held to keep a session, in this backend.
#[derive(Clone, Copy, Debug)]
struct Pin {
    pid: i32,
    key: i64,
}

/// Another session.
struct Other {
    wire: Arc<Wire>,
    _driver: Driver,
}

impl Pooler {
    /// The backend that is left to our session for as long as it lasts.
    ///
    /// # Errors
    /// `ERR_TRANSACTION_POOLING`: there is none. What the server says.
    ///
    /// # Cancel safety
    /// None: a lock may be held in a backend.
    pub async fn backend_of(&self, ours: &Wire) -> Result<Expected, Error> {
        let row = self.ask(ours, sql::LOCK_COUNT, &[]).await.map_err(Fault::into_error)?;
        let (mut pid, mut locks) = (row.get::<i32>(0)?, row.get::<i64>(1)?);
        // Somebody has them who may be served there again with the next statement, or is gone and has left them for ever.
        if locks > 0 {
            return Err(Error::transaction_pooling());
        }
        // Where there is no second session to be had nothing can be told.
        if let Some(other) = timeout(PROBE_LIMIT, self.connect()).await.ok().flatten() {
            if self.are_mixed_up(ours, pid, &other.wire).await == Some(true) {
                pid = self.kept_for_holders(ours, &other.wire).await?;
                locks = 1;
            }
            other.leave().await;
        }
        let row = self.ask(ours, sql::SERVED_BY, &[]).await.map_err(Fault::into_error)?;
        let mark = row.try_get::<String>(1)?.unwrap_or_default();
        match row.get::<i32>(0)? {
            served_by if served_by == pid => Ok(Expected { backend: Backend { pid, mark }, most_locks: Some(locks) }),
            _ => Err(Error::transaction_pooling()),
        }
    }

    /// Whether either session is served by several backends, or both are by the same.
    ///
    /// A pooler that shares lends the backend that has been free for the shortest time: asked in turn, both get the same one,
    /// unless somebody else comes between, which will not happen each time.
    async fn are_mixed_up(&self, ours: &Wire, pid: i32, other: &Wire) -> Option<bool> {
        let mut seen = None;
        for pause in PAUSES {
            sleep(Duration::from_millis(pause)).await;
            let (ours, others) = (self.served_by(ours).await?, self.served_by(other).await?);
            if ours != pid || others == pid || *seen.get_or_insert(others) != others {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The backend that is left to our session while it holds a lock there, as it does from now on.
    async fn kept_for_holders(&self, ours: &Wire, other: &Wire) -> Result<i32, Error> {
        let pin = self.pin(ours).await?;
        let parameters = pin.parameters();
        for pause in PAUSES {
            sleep(Duration::from_millis(pause)).await;
            // Whoever shares the backend gives the lock back by the very question.
            let is_shared = self.is_done(other, sql::UNPIN, &parameters).await;
            if is_shared == Some(false) && self.served_by(ours).await == Some(pin.pid) {
                continue;
            }
            if is_shared != Some(true) {
                self.find(sql::UNPIN, &parameters).await;
            }
            return Err(Error::transaction_pooling());
        }
        Ok(pin.pid)
    }

    /// Takes a lock that nobody else has.
    async fn pin(&self, wire: &Wire) -> Result<Pin, Error> {
        let mut chance = [0; 8];
        getrandom::fill(&mut chance).map_err(|error| Error::system(&error.into(), None))?;
        let key = i64::from_ne_bytes(chance);
        let row = self.ask(wire, sql::PIN, &[(&key, Type::INT8)]).await.map_err(Fault::into_error)?;
        Ok(Pin { pid: row.get(0)?, key })
    }

    /// Leaves a backend as it was before the session, which this connection may not have any more: locks, settings, the mark.
    pub async fn give_back(&self, ours: &Wire, pid: i32) {
        let names = setting_names();
        let parameters: [Parameter; 2] = [(&pid, Type::INT4), (&names, Type::TEXT_ARRAY)];
        if self.is_done(ours, sql::GIVE_BACK, &parameters).await == Some(false) {
            self.find(sql::GIVE_BACK, &parameters).await;
        }
    }

    /// Has something done by the one backend that does it: sessions that are served by others keep these busy until it comes.
    async fn find(&self, text: &'static str, parameters: &[Parameter<'_>]) {
        let mut others: Vec<Other> = Vec::new();
        let search = async {
            let (mut pause, mut wait) = (NEXT_SEARCH, MOST_WAIT);
            for _ in 0..SEARCHES {
                let is_done = self.occupy(&mut others, wait, text, parameters).await?;
                for other in &others {
                    self.execute(&other.wire, sql::COMMIT).await?;
                }
                if is_done {
                    break;
                }
                // It was busy.
                sleep(by_chance(pause)).await;
                (pause, wait) = ((pause * 2).min(LATEST_NEXT_SEARCH), (wait * 2).min(LATER_MOST_WAIT));
            }
            Some(())
        };
        let _ = timeout(self.patience.answer, search).await;
        for other in others {
            other.leave().await;
        }
    }

    /// Whether it is done by one of the backends that are free.
    async fn occupy(
        &self,
        others: &mut Vec<Other>,
        wait: Duration,
        text: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Option<bool> {
        for place in 0..MOST_OCCUPIED {
            if place == others.len() {
                others.push(self.connect().await?);
            }
            let wire = &others[place].wire;
            let ask = async {
                self.execute(wire, sql::BEFORE_SETUP[0]).await?;
                self.is_done(wire, text, parameters).await
            };
            match timeout(wait, ask).await {
                Ok(Some(false)) => {}
                Ok(is_done) => return is_done,
                // None is free, and whoever waits for another with some in hand holds up everybody.
                Err(_) => {
                    others.truncate(place);
                    return Some(false);
                }
            }
        }
        Some(false)
    }

    async fn connect(&self) -> Option<Other> {
        let since = clock::now();
        let mut socket = self.route.connect().await.ok()?;
        start(&self.config, &self.password, &mut socket).await.ok()?;
        let (wire, driver) = Driver::start(socket, self.route.peer(), self.patience, since).ok()?;
        Some(Other { wire, _driver: driver })
    }

    async fn served_by(&self, wire: &Wire) -> Option<i32> {
        self.ask(wire, sql::SERVED_BY, &[]).await.ok()?.get(0).ok()
    }

    async fn ask(&self, wire: &Wire, text: &'static str, parameters: &[Parameter<'_>]) -> Result<Row, Fault> {
        let rows = wire.ask(Statement::once(text), parameters, self.patience.answer).await?;
        rows.into_iter().next().ok_or_else(|| Fault::of_protocol("no row"))
    }

    async fn is_done(&self, wire: &Wire, text: &'static str, parameters: &[Parameter<'_>]) -> Option<bool> {
        self.ask(wire, text, parameters).await.ok()?.get(0).ok()
    }

    async fn execute(&self, wire: &Wire, text: &'static str) -> Option<()> {
        wire.ask(Statement::once(text), &[], self.patience.answer).await.ok().map(drop)
    }
}

/// Up to twice as long.
fn by_chance(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1024;
    pause + pause * u32::try_from(random).unwrap_or(0) / 1024
}

impl Pin {
    fn parameters(&self) -> [Parameter<'_>; 2] {
        [(&self.pid, Type::INT4), (&self.key, Type::INT8)]
    }
}

impl Other {
    /// As whoever stands between has it: a server session that is left in the middle of something is of no use to others.
    async fn leave(self) {
        self.wire.terminate();
        let _ = timeout(PROBE_LIMIT, self.wire.over()).await;
    }
}
