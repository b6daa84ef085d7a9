//! How a session through a pooler comes to be that lends server sessions for one transaction: nothing is set up, as nothing would
//! last; but both sides are looked at before a lock is relied on.

use crate::error::Error;
use crate::notice;
use crate::pg::backend::new_fingerprint;
use crate::pg::connect::config::{ConnectConfig, Server};
use crate::pg::connect::setup::{check_version, explain};
use crate::pg::connect::timing::Timing;
use crate::pg::fault::Fault;
use crate::pg::open::{open_first, warn_of_standby, Attempt, Open, Started};
use crate::pg::session::call::{Answer, Statement};
use crate::pg::session::pooled::{pin_statements, tells_of_server, without_server, PooledSession};
use crate::pg::session::row::Row;
use crate::pg::session::wire::Wire;
use crate::pg::sql::pooled;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio_postgres::types::Type;

/// A pooler that has just lent a server session, and then lets nobody wait for so long, refuses the transaction itself.
const REFUSED_WITHIN: Duration = Duration::from_millis(500);

impl PooledSession {
    /// Connects to the first host that answers and will do.
    ///
    /// # Errors
    /// As of [`crate::pg::Session::open`]; `53300`: the pooler has no server session to lend; `ERR_TRANSACTION_POOLING`: it leaves
    /// not even a transaction to one.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn open(config: &ConnectConfig, timing: Timing) -> Result<PooledSession, Error> {
        open_first(config, timing, false).await
    }
}

impl Open for PooledSession {
    async fn set_up(attempt: &Attempt<'_>, started: Started) -> Result<PooledSession, Error> {
        let Attempt { config, host, target, timing, .. } = *attempt;
        let Started { wire, driver, route, encryption, .. } = started;
        wire.keep_no_statements();
        let mut settings = settings(config.options.as_deref().unwrap_or(""), timing);
        let names: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
        let row = match check(&wire, &names, timing.patience().answer).await {
            Ok(row) => row,
            Err(Fault::Statement(error)) => return Err(explain(&wire, timing, error).await),
            Err(Fault::Lost(error)) => return Err(error),
        };
        check_version(&row.get::<String>(0)?)?;
        let server = Server { is_standby: row.get(1)?, is_read_only: row.get(2)? };
        notice::trace(|| format!("connected to the pooler {} as {}, {encryption}", route.peer(), config.user));
        target.accept(server)?;
        if server.is_standby && !target.wants_standby() {
            warn_of_standby(host);
        }
        let known: Vec<String> = row.try_get(5)?.unwrap_or_default();
        settings.retain(|(name, _)| known.iter().any(|known| known == name));
        Ok(PooledSession {
            wire,
            driver,
            patience: timing.patience(),
            target,
            pins: pin_statements(&settings, target),
            database: u32::try_from(row.get::<i64>(4)?).map_err(|_| Error::protocol("a database without a number"))?,
            may_be_deferred: row.get::<String>(3)? == "serializable",
            lacks_blocks: false,
            fingerprint: None,
            pid: 0,
        })
    }
}

/// Asks for what [`pooled::CHECK`] tells.
async fn check(wire: &Wire, settings: &[&str], limit: Duration) -> Result<Row, Fault> {
    let say = |text| wire.ask(Statement::once(text), &[], limit);
    // Takes no snapshot, for which it would have to wait. By itself, as a pooler that refuses what follows drops the answer.
    say(pooled::SHOW).await.map_err(without_server)?;
    let served_at = Instant::now();
    let fingerprint = new_fingerprint().map_err(Fault::Lost)?;
    let begun = say(pooled::BEGIN);
    let checked =
        wire.ask(Statement::once(pooled::CHECK), &[(&fingerprint, Type::TEXT), (&settings, Type::TEXT_ARRAY)], limit);
    begun.await.map_err(|fault| refused_transaction(fault, served_at.elapsed()))?;
    let row = match first(checked).await {
        Ok(row) => row,
        Err(fault) => {
            let _ = say(pooled::COMMIT).await;
            return Err(fault);
        }
    };
    // Of a transaction that is idle, only this tells to whom it is left.
    let (shown, ended) = (say(pooled::SHOW_FINGERPRINT), say(pooled::COMMIT));
    let shown = shown.await;
    ended.await?;
    match shown {
        Ok(rows)
            if rows.first().map(|row| row.try_get::<String>(0)).transpose().ok().flatten().flatten()
                == Some(fingerprint) =>
        {
            Ok(row)
        }
        Err(Fault::Lost(cause)) => Err(Fault::Lost(cause)),
        _ => Err(Fault::Lost(Error::statement_pooling())),
    }
}

/// What it means that a transaction does not begin, so long after a server session was lent.
fn refused_transaction(fault: Fault, waited: Duration) -> Fault {
    let (Fault::Statement(error) | Fault::Lost(error)) = &fault;
    let is_refusal = error.server().is_some() && error.code() == "08P01" && waited < REFUSED_WITHIN;
    // There is no PostgreSQL without transactions.
    if is_refusal && !tells_of_server(error) {
        Fault::Lost(Error::statement_pooling())
    } else {
        without_server(fault)
    }
}

async fn first(answer: impl Future<Output = Answer>) -> Result<Row, Fault> {
    answer.await?.into_iter().next().ok_or_else(|| Fault::of_protocol("no row"))
}

/// What a transaction that holds a lock sets for itself, unless the connection string's `options` mention it.
fn settings(options: &str, timing: Timing) -> Vec<(&'static str, String)> {
    let settings = [
        // Of a client that is gone, or cut off from the pooler, nothing is heard; its lock is free then.
        ("idle_in_transaction_session_timeout", timing.idle_limit().as_millis().to_string()),
        ("statement_timeout", "0".to_owned()),
        ("lock_timeout", "0".to_owned()),
        ("transaction_timeout", "0".to_owned()),
        // Loses the session by the first statement that fails.
        ("exit_on_error", "off".to_owned()),
    ];
    settings.into_iter().filter(|(name, _)| !options.contains(name)).collect()
}
