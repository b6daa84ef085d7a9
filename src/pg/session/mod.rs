//! One connection that holds locks: what is asked on it, and what the answers mean. Batches go by the [`Wire`] itself.
//!
//! A session knows nothing of who wants its locks. Its one invariant: what it reports as taken is held by the backend
//! that it began with; where it cannot tell any more it calls itself lost.

pub(in crate::pg) mod batch;
pub(in crate::pg) mod call;
pub(in crate::pg) mod deadlock;
pub(in crate::pg) mod driver;
pub(in crate::pg) mod fence;
pub(in crate::pg) mod held_names;
pub(in crate::pg) mod holder;
mod key_query;
pub(in crate::pg) mod overview;
pub(in crate::pg) mod pooled;
pub(in crate::pg) mod readiness;
pub(in crate::pg) mod row;
pub(in crate::pg) mod seen;
pub(in crate::pg) mod steps;
pub(in crate::pg) mod turn;
pub(in crate::pg) mod wire;

use crate::core::{salvage, Key, Mode, Modes, Salvaged, Step};
use crate::error::Error;
use crate::notice;
use crate::pg::backend::Backend;
use crate::pg::connect::cancel::Cancel;
use crate::pg::connect::pooler::Pooler;
use crate::pg::fault::Fault;
use crate::pg::session::call::{Answer, Parameter, Statement};
use crate::pg::session::driver::Driver;
use crate::pg::session::held_names::HeldNames;
use crate::pg::session::holder::Holder;
use crate::pg::session::key_query::{ask_for_foreign_texts, read_holders, read_time, read_yes_or_no, KeyParameters};
use crate::pg::session::row::Row;
use crate::pg::session::wire::{Patience, Wire, HEARTBEAT};
use crate::pg::sql;
use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use tokio::time::timeout;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tries and releases of many keys; never blocks.
    Main,
    /// Waits in the server's queue for one key, then is its home.
    Wait,
}

/// An open session. Its connection ends when it is dropped.
pub struct Session {
    pub(in crate::pg) wire: Arc<Wire>,
    pub(in crate::pg) driver: Driver,
    pub(in crate::pg) cancel: Cancel,
    pub(in crate::pg) backend: Backend,
    /// For how long silence is borne.
    pub(in crate::pg) patience: Patience,
    /// Who lends the backend, if anybody stands between.
    pub(in crate::pg) pooler: Arc<Pooler>,
    /// Whether the server has been found to have no blocks of PL/pgSQL for this role.
    pub(in crate::pg) lacks_blocks: AtomicBool,
    /// Whether this role has been found to lack the right to see who holds a key.
    pub(in crate::pg) is_blind: AtomicBool,
    /// Whether it has been found to lack a right that is needed to find deadlocks across processes.
    pub(in crate::pg) may_not_inquire: AtomicBool,
}

/// What somebody's request to cancel has hit is repeated so often: the session is lost to one who cancels without end only.
const MOST_ATTEMPTS: usize = 100;

impl Session {
    /// The way to send batches.
    #[must_use]
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// The process id of the backend.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.backend.pid
    }

    /// Resolves when the connection is over, to the reason.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn lost(&self) -> Error {
        self.wire.over().await
    }

    /// Whether anybody waits for the key.
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
            async move { self.look(sql::HOLDERS, &key.with(&as_bytes)).await }
        };
        read_holders(&ask_for_foreign_texts(ask).await?)
    }

    /// Whether a brief turn of waiting may bring the key in the other mode than this session has it: no other session holds it, as
    /// far as that can be seen. A role that may not see it has such turns all the same, where they end quietly.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn may_upgrade(&self, key: Key) -> Result<bool, Fault> {
        if !self.is_blind.load(Ordering::Relaxed) {
            self.trace(|| format!("ask whether others hold {key}"));
            match self.ask_about(sql::HELD_BY_OTHERS, key).await {
                Err(fault) if fault.is_denied() => self.is_blind.store(true, Ordering::Relaxed),
                answer => return read_yes_or_no(&answer?).map(|is_held| !is_held),
            }
        }
        Ok(!self.lacks_blocks.load(Ordering::Relaxed))
    }

    /// A sign of life, with which the session says what it holds.
    ///
    /// # Errors
    /// [`Fault::Statement`]: somebody has cancelled it, which is one too. [`Fault::Lost`]: there was none in time.
    pub async fn heartbeat(&self, held: Option<HeldNames>) -> Result<(), Fault> {
        self.trace(|| "heartbeat".to_owned());
        let text = held.map(|held| sql::heartbeat_with(&held.comment()));
        let statement = text.as_deref().map_or(HEARTBEAT, Statement::once);
        let rows = self.wire.ask(statement, &[], self.wire.time_for_proof()).await?;
        self.verify_backend(rows.first())
    }

    /// A sign of life, and the server's time of it in milliseconds since 1970: at that time all that the session holds was
    /// held.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn verify(&self) -> Result<f64, Fault> {
        self.trace(|| "verify".to_owned());
        let rows = self.look(sql::VERIFY, &[]).await?;
        self.verify_backend(rows.first())?;
        read_time(&rows[0])
    }

    /// Closes the session; the locks that it still has are given up.
    pub async fn close(self) {
        self.give_back().await;
        self.trace(|| "closed".to_owned());
        self.wire.terminate();
        let _ = timeout(self.patience.answer, self.wire.over()).await;
        drop(self.driver);
    }

    /// Tells whoever wants to know what this session is about to do.
    pub fn trace(&self, what: impl FnOnce() -> String) {
        notice::trace(|| format!("backend {}: {}", self.backend.pid, what()));
    }

    async fn ask_about(&self, statement: &'static str, key: Key) -> Result<Vec<Row>, Fault> {
        self.look(statement, &KeyParameters::of(key).as_parameters()).await
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
        let (salvaged, left_over) = salvage(batches, modes_in(&self.held().await?));
        let mut left_over = vec![left_over];
        let mut cancelled = 0;
        while let Some(steps) = left_over.pop() {
            if steps.is_empty() {
                continue;
            }
            match batch::read(&steps, self.ask_for(&steps).await) {
                Ok(_) => {}
                Err(fault) if fault.is_cancel() && cancelled < MOST_ATTEMPTS => {
                    cancelled += 1;
                    left_over.push(salvage(&[steps], modes_in(&self.held().await?)).1);
                }
                // Not the release of one lock, but the statement for many, which names what is not needed here as well.
                Err(fault) if fault.is_denied() && batch::rows(&steps).len() > 1 => {
                    left_over.extend(steps::each_alone(&steps).map(|step| vec![step]));
                }
                // A lock that cannot be given back goes with its session.
                Err(fault) => return Err(fault.into_loss()),
            }
        }
        Ok(salvaged)
    }

    /// Asks something that changes nothing.
    async fn look(&self, statement: &'static str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        again_if_cancelled(|| self.wire.ask(Statement::once(statement), parameters, self.patience.answer)).await
    }

    /// The locks that the session has.
    async fn held(&self) -> Result<HashSet<(Key, Mode)>, Fault> {
        // Where this cannot be told, nothing can.
        let rows = self.look(sql::HELD, &[]).await.map_err(Fault::into_loss)?;
        let mut held = HashSet::with_capacity(rows.len());
        for row in rows {
            let key = Key::from_halves(decode(row.get(0))?, decode(row.get(1))?, decode(row.get(2))?);
            let mode = if decode(row.get(3))? { Mode::Exclusive } else { Mode::Shared };
            held.extend(key.map(|key| (key, mode)));
        }
        Ok(held)
    }

    /// Has steps done by themselves.
    fn ask_for(&self, steps: &[Step]) -> impl Future<Output = Answer> + Send + use<> {
        self.trace(|| steps::describe(steps));
        batch::request(&batch::rows(steps), &self.backend.fingerprint, |statement, parameters| {
            self.wire.ask(statement, parameters, self.patience.answer)
        })
    }

    fn verify_backend(&self, row: Option<&Row>) -> Result<(), Fault> {
        let row = row.ok_or_else(|| Fault::of_protocol("no row"))?;
        if decode::<Option<String>>(row.try_get(0))?.as_ref() == Some(&self.backend.fingerprint) {
            Ok(())
        } else {
            Err(Fault::Lost(Error::transaction_pooling()))
        }
    }
}

/// Asks, and again where a request to cancel has hit it that was meant for something else.
async fn again_if_cancelled<T, F>(ask: impl Fn() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    for _ in 1..MOST_ATTEMPTS {
        match ask().await {
            Err(fault) if fault.is_cancel() => {}
            answer => return answer,
        }
    }
    ask().await
}

/// How each key is held, where these are the locks that the session has.
fn modes_in(held: &HashSet<(Key, Mode)>) -> impl Fn(Key) -> Modes + '_ {
    |key| Modes { exclusive: held.contains(&(key, Mode::Exclusive)), shared: held.contains(&(key, Mode::Shared)) }
}

/// An answer of another shape than asked for comes from no PostgreSQL: nothing that it says can be trusted.
fn decode<T>(answer: Result<T, Error>) -> Result<T, Fault> {
    answer.map_err(Fault::Lost)
}
