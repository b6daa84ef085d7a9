//! One connection through a pooler that lends a server session for one transaction at a time.
//!
//! A lock is held by a transaction that is kept open; without one the connection has no server session. The fingerprint that the
//! transaction sets for itself goes with it: whoever reads it has the very transaction that took the lock, whatever the pooler
//! does. What it says last is a `SHOW`: that takes no snapshot, and makes the server drop the one of the statement before, which
//! `VACUUM` would have to heed. Invariant: nothing outlives its transaction, neither a setting nor a statement, and nothing waits
//! at the server.

use crate::core::{Key, Mode};
use crate::error::Error;
use crate::notice;
use crate::pg::backend::new_fingerprint;
use crate::pg::clock;
use crate::pg::connect::config::{Server, Target};
use crate::pg::fault::Fault;
use crate::pg::session::call::{Answer, Parameter, Statement};
use crate::pg::session::decode;
use crate::pg::session::driver::Driver;
use crate::pg::session::holder::Holder;
use crate::pg::session::key_query::{ask_for_foreign_texts, read_holders, read_time, read_yes_or_no, KeyParameters};
use crate::pg::session::row::Row;
use crate::pg::session::seen::{see, unsigned, Lock, Seen};
use crate::pg::session::turn::lacks_blocks;
use crate::pg::session::wire::{Patience, Wire};
use crate::pg::sql::{self, pooled};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::types::Type;

/// An open connection to a pooler. It ends when it is dropped, and what it holds with it.
pub struct PooledSession {
    pub(in crate::pg) wire: Arc<Wire>,
    pub(in crate::pg) driver: Driver,
    pub(in crate::pg) patience: Patience,
    /// Which servers will do.
    pub(in crate::pg) target: Target,
    /// The statements that begin to hold a key, of either key space in either mode ([`pin_statements`]).
    pub(in crate::pg) pins: [String; 4],
    /// The number of the database.
    pub(in crate::pg) database: u32,
    /// Whether a statement by itself may have to wait for others' transactions.
    pub(in crate::pg) may_be_deferred: bool,
    /// Whether the server has been found to have no blocks of PL/pgSQL for this role.
    pub(in crate::pg) lacks_blocks: bool,
    /// The fingerprint of the transaction that holds a lock.
    pub(in crate::pg) fingerprint: Option<String>,
    /// The server's process of that transaction.
    pub(in crate::pg) pid: i32,
}

impl PooledSession {
    /// What the connection shows of the server, for whoever wants to know.
    #[must_use]
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Resolves when the connection is over, to the reason.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn lost(&self) -> Error {
        self.wire.over().await
    }

    /// Begins a transaction that holds the key, if it is free; else there is none. `turn`: how long it waits for the key in the
    /// server's queue, if it is taken.
    ///
    /// # Errors
    /// [`Fault::Statement`]: there is no transaction. [`Fault::Lost`]: nobody knows; `53300`: the pooler had no server session to
    /// lend.
    ///
    /// # Cancel safety
    /// None: the transaction may have begun.
    pub async fn pin(&mut self, key: Key, mode: Mode, turn: Option<Duration>) -> Result<bool, Fault> {
        let fingerprint = new_fingerprint().map_err(Fault::Lost)?;
        let asked_at = clock::now();
        let (high, low) = key.halves();
        let [begun, taken, shown] = self.ask_all([
            (pooled::BEGIN, &[]),
            (
                &self.pins[place_of(key.space(), mode)],
                &[(&fingerprint, Type::TEXT), (&high, Type::INT4), (&low, Type::INT4)],
            ),
            (pooled::SHOW_FINGERPRINT, &[]),
        ]);
        let (begun, taken, shown) = (begun.await, taken.await, shown.await);
        begun.map_err(|fault| without_server(fault).into_loss())?;
        let row = match first(taken) {
            // The server is another one than was looked at, which lacks a setting.
            Err(Fault::Statement(error)) if error.code() == NO_SUCH_SETTING => return Err(Fault::Lost(error)),
            Err(fault @ Fault::Statement(_)) => {
                // Whatever comes of it is seen by the next one.
                drop(self.execute(pooled::COMMIT));
                return Err(fault);
            }
            taken => taken?,
        };
        if !self.target.is_any() {
            let server = Server { is_standby: decode(row.get(2))?, is_read_only: decode(row.get(3))? };
            self.target.accept(server).map_err(Fault::Lost)?;
        }
        self.pid = decode(row.get(0))?;
        let is_taken: bool = decode(row.get(1))?;
        self.trace(|| {
            format!("try {key} in a transaction: {}", if is_taken { "it is held now" } else { "it is taken" })
        });
        let (is_taken, shown) = match turn.filter(|_| !is_taken && !self.lacks_blocks) {
            Some(limit) => self.take_turn(key, mode, limit, &fingerprint).await?,
            None => (is_taken, shown),
        };
        if !is_taken {
            drop(self.execute(pooled::COMMIT));
            return Ok(false);
        }
        self.fingerprint = Some(fingerprint);
        if let Err(Fault::Lost(cause)) = self.check_fingerprint(shown) {
            return Err(Fault::Lost(if is_over(&cause) { Error::statement_pooling() } else { cause }));
        }
        // An answer that was long in coming may be older than the end of its transaction.
        if clock::now().saturating_sub(asked_at) > self.patience.answer {
            self.heartbeat().await?;
        }
        Ok(true)
    }

    /// Waits for the key in the server's queue for a moment, by the transaction with this fingerprint; whether it has the key
    /// then, and the fingerprint that it shows.
    async fn take_turn(
        &mut self,
        key: Key,
        mode: Mode,
        limit: Duration,
        fingerprint: &str,
    ) -> Result<(bool, Answer), Fault> {
        let limit = limit.min(self.patience.answer / 2);
        self.trace(|| format!("wait for {key} for {} ms", limit.as_millis()));
        let text = pooled::turn(key, mode, limit.as_millis(), fingerprint);
        let waited = self.wire.ask(Statement::once(&text), &[], self.patience.answer + limit);
        let (outcome, shown) = (self.execute(sql::TURN_OUTCOME), self.execute(pooled::SHOW_FINGERPRINT));
        let (waited, outcome, shown) = (waited.await, outcome.await, shown.await);
        match waited {
            // PostgreSQL without PL/pgSQL, or a role that may not use it.
            Err(Fault::Statement(error)) if lacks_blocks(error.code()) => self.lacks_blocks = true,
            Err(Fault::Statement(_)) => {}
            Err(lost) => return Err(lost),
            Ok(_) => {
                let outcome = first(outcome)?;
                let is_granted = decode(outcome.try_get::<String>(1))?.as_deref() == Some("granted");
                return Ok((is_granted, shown));
            }
        }
        Ok((false, shown))
    }

    /// Takes another lock in the transaction that is open, if it is free.
    ///
    /// # Errors
    /// [`Fault::Lost`]: the transaction is over.
    pub async fn take_also(&self, key: Key, mode: Mode) -> Result<bool, Fault> {
        self.trace(|| format!("try {key} in the same transaction"));
        let fingerprint = self.fingerprint.clone().unwrap_or_default();
        let (high, low) = key.halves();
        let parameters: [Parameter; 3] = [(&high, Type::INT4), (&low, Type::INT4), (&fingerprint, Type::TEXT)];
        let [taken, shown] = self.ask_all([(pooled::take(key, mode), &parameters), (pooled::SHOW_FINGERPRINT, &[])]);
        let (taken, shown) = (taken.await, shown.await);
        self.check_fingerprint(shown)?;
        let row = first(taken).map_err(Fault::into_loss)?;
        decode(row.try_get::<bool>(0))?.ok_or_else(transaction_over)
    }

    /// Ends the transaction, and gives up what it holds; whether it was there until now.
    ///
    /// # Errors
    /// [`Fault::Lost`]: nobody knows.
    pub async fn unpin(&mut self) -> Result<bool, Fault> {
        self.trace(|| "end the transaction".to_owned());
        let [held, ended] = self.ask_all([(pooled::SHOW_FINGERPRINT, &[]), (pooled::COMMIT, &[])]);
        let (held, ended) = (held.await, ended.await);
        let fingerprint = self.fingerprint.take();
        ended.map_err(Fault::into_loss)?;
        match first(held) {
            Ok(row) => Ok(fingerprint.is_some() && decode(row.try_get::<String>(0))? == fingerprint),
            // It ends the transaction, too.
            Err(Fault::Statement(_)) => Ok(false),
            Err(lost) => Err(lost),
        }
    }

    /// A sign of life of the transaction, which the server ends without one after some time.
    ///
    /// # Errors
    /// [`Fault::Lost`]: it is over.
    pub async fn heartbeat(&self) -> Result<(), Fault> {
        self.trace(|| "heartbeat".to_owned());
        self.check_fingerprint(
            self.wire.ask(Statement::once(pooled::SHOW_FINGERPRINT), &[], self.wire.time_for_proof()).await,
        )
    }

    /// A sign of life, and the server's time of it in milliseconds since 1970: at that time the transaction held what it holds.
    ///
    /// # Errors
    /// [`Fault::Lost`]: it is over.
    pub async fn verify(&self) -> Result<f64, Fault> {
        self.trace(|| "verify".to_owned());
        let [told, shown] = self.ask_all([(sql::VERIFY, &[]), (pooled::SHOW_FINGERPRINT, &[])]);
        let (told, shown) = (told.await, shown.await);
        let row = first(told).map_err(Fault::into_loss)?;
        self.check_fingerprint(shown)?;
        read_time(&row)
    }

    /// What there is to be seen of the keys, each in its mode.
    ///
    /// # Errors
    /// [`Fault`]; `53300`: the pooler had no server session to lend.
    pub async fn look(&self, keys: &[(Key, Mode)]) -> Result<Vec<Seen>, Fault> {
        self.trace(|| format!("look for {} keys", keys.len()));
        let halves: Vec<u32> = keys.iter().map(|(key, _)| unsigned(key.halves().1)).collect();
        let rows = self.ask_between(pooled::LOOK, &[(&self.database, Type::OID), (&halves, Type::OID_ARRAY)]).await?;
        let locks = rows.iter().map(Lock::read).collect::<Result<Vec<Lock>, Error>>().map_err(Fault::Lost)?;
        Ok(keys.iter().map(|&(key, mode)| see(&locks, key, mode)).collect())
    }

    /// Whether anybody waits for the key in the server's queue, as those do who are connected directly.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn is_contended(&self, key: Key) -> Result<bool, Fault> {
        self.trace(|| format!("ask whether anybody waits for {key}"));
        read_yes_or_no(&self.ask_about(sql::CONTENDED, key).await?)
    }

    /// Who holds the key or waits for it on the server.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn holders(&self, key: Key) -> Result<Vec<Holder>, Fault> {
        self.trace(|| format!("ask who holds {key}"));
        let key = KeyParameters::of(key);
        let ask = |as_bytes| {
            let key = &key;
            async move { self.ask_between(sql::HOLDERS, &key.with(&as_bytes)).await }
        };
        read_holders(&ask_for_foreign_texts(ask).await?)
    }

    /// Closes the connection; what is held is given up.
    pub async fn close(self) {
        self.trace(|| "closed".to_owned());
        self.wire.terminate();
        let _ = timeout(self.patience.answer, self.wire.over()).await;
        drop(self.driver);
    }

    /// Tells whoever wants to know what this session is about to do.
    pub fn trace(&self, what: impl FnOnce() -> String) {
        notice::trace(|| match self.fingerprint {
            Some(_) => format!("backend {}, lent: {}", self.pid, what()),
            None => format!("through a pooler: {}", what()),
        });
    }

    /// Whether it is the transaction that holds the lock which has answered.
    fn check_fingerprint(&self, shown: Answer) -> Result<(), Fault> {
        let row = match first(shown) {
            Err(Fault::Statement(error)) if error.code() == NO_SUCH_SETTING => return Err(transaction_over()),
            // An error ends the transaction, too.
            shown => shown.map_err(Fault::into_loss)?,
        };
        if self.fingerprint.is_some() && decode(row.try_get::<String>(0))? == self.fingerprint {
            Ok(())
        } else {
            Err(transaction_over())
        }
    }

    async fn ask_about(&self, statement: &str, key: Key) -> Result<Vec<Row>, Fault> {
        self.ask_between(statement, &KeyParameters::of(key).as_parameters()).await
    }

    /// Asks something for which no transaction is open, and which changes nothing.
    pub(super) async fn ask_between(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        if !self.may_be_deferred {
            return self.ask(statement, parameters).await.map_err(without_server);
        }
        let [begun, answer, ended] =
            self.ask_all([(pooled::BEGIN, &[]), (statement, parameters), (pooled::COMMIT, &[])]);
        let (begun, answer, ended) = (begun.await, answer.await, ended.await);
        begun.map_err(|fault| without_server(fault).into_loss())?;
        ended.map_err(Fault::into_loss)?;
        answer
    }

    fn execute(&self, text: &str) -> impl Future<Output = Answer> + Send + use<> {
        self.ask(text, &[])
    }

    fn ask(&self, text: &str, parameters: &[Parameter]) -> impl Future<Output = Answer> + Send + use<> {
        let [answer] = self.ask_all([(text, parameters)]);
        answer
    }

    fn ask_all<const N: usize>(
        &self,
        questions: [(&str, &[Parameter]); N],
    ) -> [impl Future<Output = Answer> + Send + use<N>; N] {
        let questions = questions.map(|(text, parameters)| (Statement::once(text), parameters));
        self.wire.ask_all(questions, self.patience.answer)
    }
}

fn first(answer: Answer) -> Result<Row, Fault> {
    answer?.into_iter().next().ok_or_else(|| Fault::of_protocol("no row"))
}

/// The statements of [`PooledSession::pins`], which set this for their transactions, and tell what is to be known of the server.
pub(in crate::pg) fn pin_statements(settings: &[(&str, String)], target: Target) -> [String; 4] {
    let mut statements = [const { String::new() }; 4];
    for space in [1, 2] {
        for mode in [Mode::Exclusive, Mode::Shared] {
            statements[place_of(space, mode)] = pooled::pin(space, mode, settings, !target.is_any());
        }
    }
    statements
}

fn place_of(space: i16, mode: Mode) -> usize {
    2 * usize::from(space == 1) + usize::from(mode == Mode::Shared)
}

/// A backend that has never seen a fingerprint calls it so.
const NO_SUCH_SETTING: &str = "42704";
/// As PostgreSQL calls it where there is no transaction.
const NO_TRANSACTION: &str = "25P01";

/// The transaction that held the lock is over, and another one answers.
fn transaction_over() -> Fault {
    Fault::Lost(Error::new(NO_TRANSACTION, "the transaction that held it is over"))
}

/// Whether that is the reason.
fn is_over(cause: &Error) -> bool {
    cause.code() == NO_TRANSACTION
}

/// Whether a pooler tells that its server cannot be reached, or is gone, as PgBouncer says it.
pub(in crate::pg) fn tells_of_server(cause: &Error) -> bool {
    let message = cause.message();
    cause.code() == "08P01" && ["server login ", "server conn crashed"].iter().any(|begin| message.starts_with(begin))
}

/// What it means that a connection fails which has no server session yet: it waits for one in vain, or is told so. PgBouncer calls
/// everything that it says a violation of the protocol.
pub(in crate::pg) fn without_server(fault: Fault) -> Fault {
    match &fault {
        Fault::Lost(cause) if cause.code() == "ETIMEDOUT" => Fault::Lost(Error::no_server_session(cause)),
        Fault::Lost(cause) if tells_of_server(cause) => Fault::Lost(Error::no_server_behind_pooler(cause)),
        Fault::Lost(cause) if cause.server().is_some() && ["08P01", "58000"].contains(&cause.code()) => {
            Fault::Lost(Error::no_server_session(cause))
        }
        _ => fault,
    }
}
