//! One connection that holds locks: wait for a lock, be cancelled, be lost. Batches have a way of their own ([`Lane`]).
//!
//! A session knows nothing of who wants its locks. Its one invariant: what it reports as taken is held by the backend
//! that it began with; where it cannot tell any more it calls itself lost.

pub(in crate::pg) mod batch;
pub(in crate::pg) mod deadlock;
mod exchange;
pub(in crate::pg) mod holder;
pub(in crate::pg) mod lane;
pub(in crate::pg) mod steps;

use crate::core::{salvage, Key, Mode, Modes, Salvaged, Step};
use crate::error::Error;
use crate::notice;
use crate::pg::connect::dial::Route;
use crate::pg::connect::pooler;
use crate::pg::connect::setup::ANSWER_LIMIT;
use crate::pg::connect::start::Running;
use crate::pg::connect::tls::Established;
use crate::pg::session::holder::Holder;
use crate::pg::session::lane::Lane;
use crate::pg::sql::{self, Action};
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Client, Row, Statement};

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tries and releases of many keys; never blocks.
    Main,
    /// Waits in the server's queue for one key, then is its home.
    Wait,
}

/// How work on a session fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This statement failed; the session lives.
    Statement(Error),
    /// The session is gone, with all its locks.
    Lost(Error),
}

impl Fault {
    /// The same, where the session cannot go on after it.
    #[must_use]
    pub fn into_loss(self) -> Fault {
        let (Fault::Statement(error) | Fault::Lost(error)) = self;
        Fault::Lost(error)
    }
}

/// An open session.
pub struct Session {
    pub(in crate::pg) client: Client,
    pub(in crate::pg) cancel: CancelToken,
    pub(in crate::pg) route: Route,
    pub(in crate::pg) pid: i32,
    pub(in crate::pg) lane: Arc<Lane>,
    /// The statements that wait, of a session that does so again and again.
    pub(in crate::pg) wait: Option<[Statement; 2]>,
    pub(in crate::pg) ended: watch::Receiver<Option<Error>>,
    pub(in crate::pg) connection: Running,
}

impl Session {
    /// The way to send batches.
    #[must_use]
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Resolves when the connection has ended by itself, to the reason.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn lost(&self) -> Error {
        let mut ended = self.ended.clone();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| Error::new("ECONNRESET", "the connection has ended"))
    }

    /// One turn of waiting for a lock in the server's queue: whether it was granted within `turn`.
    ///
    /// # Errors
    /// [`Fault::Statement`]: this wait cannot go on (`40P01`, `53200`). [`Fault::Lost`].
    ///
    /// # Cancel safety
    /// None: call [`Session::cancel`] and await the turn; it may have been granted.
    pub async fn wait_turn(&self, key: Key, mode: Mode, turn: Duration) -> Result<bool, Fault> {
        let (high, low) = key.halves();
        let (exclusive, limit) = (mode == Mode::Exclusive, turn.as_millis().to_string());
        self.trace(|| format!("wait for {key} {mode}"));
        let asked = async {
            if let Some(statements) = &self.wait {
                let parameters: [&(dyn ToSql + Sync); 5] = [&high, &low, &exclusive, &limit, &self.pid];
                return self.client.query_one(&statements[usize::from(key.space() == 2)], &parameters).await;
            }
            let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
                (&high, Type::INT4),
                (&low, Type::INT4),
                (&exclusive, Type::BOOL),
                (&limit, Type::TEXT),
                (&self.pid, Type::INT4),
            ];
            self.client.query_typed_one(sql::wait(key.space()), &parameters).await
        };
        match self.answer(turn + ANSWER_LIMIT, asked).await {
            Ok(row) => self.verify_backend(&row).map(|()| true),
            // Out of time or cancelled, but perhaps in the very moment of the grant: session locks outlive the statement.
            Err(Fault::Statement(error))
                if [SqlState::LOCK_NOT_AVAILABLE.code(), SqlState::QUERY_CANCELED.code()].contains(&error.code()) =>
            {
                Ok(self.held().await?.contains(&(key, mode)))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Asks the server to end the statement under way. Resolves once the request is delivered, so that it cannot hit a
    /// later statement; a request that cannot be delivered is given up, as a turn ends by itself.
    pub async fn cancel(&self) {
        self.trace(|| "cancel what it is doing".to_owned());
        let deliver = async {
            let mut socket = self.route.connect().await.ok()?;
            // Ends when the server closes this connection, which it does after it has signalled the backend.
            self.cancel.cancel_query_raw(&mut socket, Established::default()).await.ok()
        };
        let _ = timeout(ANSWER_LIMIT, deliver).await;
    }

    /// Whether anybody waits for the key.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn is_contended(&self, key: Key) -> Result<bool, Fault> {
        self.trace(|| format!("ask whether anybody waits for {key}"));
        let rows = self.ask_about(sql::CONTENDED, key).await?;
        rows.first().map_or(Ok(false), |row| decode(row.try_get(0)))
    }

    /// Who holds the key or waits for it on the server.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn holders(&self, key: Key) -> Result<Vec<Holder>, Fault> {
        self.trace(|| format!("ask who holds {key}"));
        self.ask_about(sql::HOLDERS, key).await?.iter().map(|row| decode(Holder::read(row))).collect()
    }

    /// A sign of life.
    ///
    /// # Errors
    /// [`Fault::Lost`]: there was none in time.
    pub async fn heartbeat(&self) -> Result<(), Fault> {
        self.trace(|| "heartbeat".to_owned());
        let row = self.answer(ANSWER_LIMIT, self.client.query_typed_one(sql::HEARTBEAT, &[])).await?;
        self.verify_backend(&row)
    }

    /// Takes leave of the server; the locks that are left are given up.
    pub async fn close(self) {
        self.trace(|| "closed".to_owned());
        let Session { client, mut ended, connection, .. } = self;
        drop(client);
        let _ = timeout(ANSWER_LIMIT, ended.wait_for(Option::is_some)).await;
        drop(connection);
    }

    /// Tells whoever wants to know what this session is about to do.
    pub fn trace(&self, what: impl FnOnce() -> String) {
        notice::trace(|| format!("backend {}: {}", self.pid, what()));
    }

    /// After [`Error::transaction_pooling`]: gives back what was taken, as far as it can still be reached.
    pub async fn give_back(&self) {
        pooler::give_back(&self.client, self.pid).await;
    }

    async fn ask_about(&self, statement: &str, key: Key) -> Result<Vec<Row>, Fault> {
        let (high, low) = key.halves();
        let space = key.space();
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&high, Type::INT4), (&low, Type::INT4), (&space, Type::INT2)];
        self.answer(ANSWER_LIMIT, self.client.query_typed(statement, &parameters)).await
    }

    /// Finds out which steps of failed batches are done, and gives back what they have left locked for nobody. One answer a
    /// step, in their order.
    ///
    /// # Errors
    /// [`Fault::Lost`]: nothing is known of any of them.
    ///
    /// # Cancel safety
    /// None: some of the locks may be given back.
    pub async fn salvage(&self, batches: &[Vec<Step>]) -> Result<Vec<Vec<Salvaged>>, Fault> {
        let held = self.held().await?;
        let modes = |key| Modes {
            exclusive: held.contains(&(key, Mode::Exclusive)),
            shared: held.contains(&(key, Mode::Shared)),
        };
        let (salvaged, left_over) = salvage(batches, modes);
        if !left_over.is_empty() {
            let mut rows = Vec::new();
            left_over.iter().for_each(|step| step.push_rows(&mut rows));
            // A lock that cannot be given back goes with its session.
            self.run(&rows).await.map_err(Fault::into_loss)?;
        }
        Ok(salvaged)
    }

    async fn run(&self, rows: &[(Action, Key)]) -> Result<(), Fault> {
        let actions: Vec<i16> = rows.iter().map(|(action, key)| action.code(key.space())).collect();
        let (highs, lows): (Vec<i32>, Vec<i32>) = rows.iter().map(|(_, key)| key.halves()).unzip();
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&actions, Type::INT2_ARRAY),
            (&highs, Type::INT4_ARRAY),
            (&lows, Type::INT4_ARRAY),
            (&self.pid, Type::INT4),
        ];
        let row = self.answer(ANSWER_LIMIT, self.client.query_typed_one(sql::BATCH, &parameters)).await?;
        match decode::<Option<Vec<bool>>>(row.try_get(0))? {
            Some(_) => Ok(()),
            None => Err(Fault::Lost(Error::transaction_pooling())),
        }
    }

    async fn held(&self) -> Result<HashSet<(Key, Mode)>, Fault> {
        let rows = self.answer(ANSWER_LIMIT, self.client.query_typed(sql::HELD, &[])).await?;
        let mut held = HashSet::with_capacity(rows.len());
        for row in rows {
            let key = Key::from_halves(decode(row.try_get(0))?, decode(row.try_get(1))?, decode(row.try_get(2))?);
            let mode = if decode(row.try_get(3))? { Mode::Exclusive } else { Mode::Shared };
            held.extend(key.map(|key| (key, mode)));
        }
        Ok(held)
    }

    pub(in crate::pg) async fn answer<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        tokio::pin!(work);
        let answer = loop {
            match timeout(limit, &mut work).await {
                Ok(answer) => break answer,
                // It has answered, and whoever reads for us is late.
                Err(_) if self.lane.has_unread() => {}
                Err(_) => return Err(Fault::Lost(self.silent(limit))),
            }
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) if error.is_closed() => Err(Fault::Lost(self.lost().await)),
            Err(error) => {
                let error = pooler::recognize(Error::from(error));
                match error.server() {
                    Some(server) if server.severity == "ERROR" => Err(Fault::Statement(error)),
                    _ => Err(Fault::Lost(error)),
                }
            }
        }
    }

    /// Why a session is given up that has not answered for so long.
    #[must_use]
    pub fn silent(&self, limit: Duration) -> Error {
        let message = format!("ETIMEDOUT: the server has not answered for {} ms", limit.as_millis());
        Error::new("ETIMEDOUT", message).at(&self.route.peer())
    }

    pub(in crate::pg) fn verify_backend(&self, row: &Row) -> Result<(), Fault> {
        if decode::<i32>(row.try_get(0))? == self.pid {
            Ok(())
        } else {
            Err(Fault::Lost(Error::transaction_pooling()))
        }
    }
}

/// An answer of another shape than asked for comes from no PostgreSQL: nothing that it says can be trusted.
pub(in crate::pg) fn decode<T>(answer: Result<T, tokio_postgres::Error>) -> Result<T, Fault> {
    answer.map_err(|error| Fault::Lost(error.into()))
}
