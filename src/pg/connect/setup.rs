//! What every new session is told first, and what it must answer to be trusted with locks.
//!
//! All of it is one transaction that the server's defaults cannot harm: `BEGIN` and `SET` take no snapshot, for which a
//! serializable and deferrable transaction would wait, and have no time limit yet that counts. Who stands between leaves a
//! transaction to one backend, and nothing is set in one that was not expected: what others share stays as it is.

use crate::error::Error;
use crate::pg::backend::Backend;
use crate::pg::connect::config::{ConnectConfig, Server};
use crate::pg::connect::timing::Timing;
use crate::pg::fault::Fault;
use crate::pg::session::call::{Parameter, Statement};
use crate::pg::session::row::Row;
use crate::pg::session::wire::Wire;
use crate::pg::sql;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// A backend in which a session may be set up.
pub(in crate::pg) struct Expected {
    /// As it is before.
    pub backend: Backend,
    /// More advisory locks than that would be somebody else's. `None`: nobody else can have any.
    pub most_locks: Option<i64>,
}

/// What came of a set-up.
pub(in crate::pg) struct Found {
    pub server: Server,
    /// The session's backend. `None`: it was another one than expected, in which nothing was done.
    pub backend: Option<Backend>,
}

/// Sets the session up with this fingerprint, if it is served by the backend that is expected, and tells what serves it.
///
/// # Errors
/// `ERR_UNSUPPORTED_SERVER`, `ERR_TRANSACTION_POOLING`, or what the server says.
///
/// # Cancel safety
/// None: the session may be set up.
pub(in crate::pg) async fn set_up(
    wire: &Wire,
    config: &ConnectConfig,
    timing: Timing,
    expected: &Expected,
    fingerprint: &str,
) -> Result<Found, Error> {
    let mut settings = settings(config.options.as_deref().unwrap_or(""), timing);
    let answer = match ask(wire, timing, &settings, expected, fingerprint).await {
        // Not every platform's server can watch a client while it works; without it, a dead client's wait lasts a turn.
        Err(error) if error.code() == SqlState::INVALID_PARAMETER_VALUE.code() => {
            settings.retain(|(name, _)| *name != "client_connection_check_interval");
            ask(wire, timing, &settings, expected, fingerprint).await
        }
        answer => answer,
    };
    let row = match answer {
        Ok(row) => row,
        Err(error) => return Err(explain(wire, timing, error).await),
    };
    check_version(&row.get::<String>(1)?)?;
    let is_set_up = row.try_get(3)?.unwrap_or(false);
    Ok(Found {
        server: Server { is_standby: row.get(4)?, is_read_only: row.get(5)? },
        backend: if is_set_up { Some(Backend { pid: row.get(0)?, fingerprint: fingerprint.to_owned() }) } else { None },
    })
}

/// Sends all of it at once.
async fn ask(
    wire: &Wire,
    timing: Timing,
    settings: &[(&str, String)],
    expected: &Expected,
    fingerprint: &str,
) -> Result<Row, Error> {
    let Expected { backend: Backend { pid, fingerprint: found }, most_locks } = expected;
    let (names, values): (Vec<&str>, Vec<&str>) = settings.iter().map(|(name, value)| (*name, value.as_str())).unzip();
    let parameters: [Parameter; 6] = [
        (&fingerprint, Type::TEXT),
        (&names, Type::TEXT_ARRAY),
        (&values, Type::TEXT_ARRAY),
        (pid, Type::INT4),
        (found, Type::TEXT),
        (most_locks, Type::INT8),
    ];
    let limit = timing.patience().answer;
    let say = |text| wire.ask(Statement::once(text), &[], limit);
    let before = sql::BEFORE_SETUP.map(say);
    let asked = wire.ask(Statement::once(sql::SETUP), &parameters, limit);
    let after = say(sql::COMMIT);
    let mut failure = None;
    for (index, answer) in before.into_iter().enumerate() {
        if let Err(fault) = answer.await {
            failure.get_or_insert((index, fault));
        }
    }
    let (asked, after) = (asked.await, after.await);
    match failure {
        // There is no PostgreSQL without transactions: somebody stands between who gives each statement to another backend.
        Some((0, fault)) if is_refused_by_pooler(&fault) => return Err(Error::transaction_pooling()),
        Some((_, fault)) => return Err(fault.into_error()),
        None => {}
    }
    let rows = asked.map_err(Fault::into_error)?;
    after.map_err(Fault::into_error)?;
    rows.into_iter().next().ok_or_else(|| Error::protocol("no row"))
}

fn is_refused_by_pooler(begin: &Fault) -> bool {
    let (Fault::Statement(error) | Fault::Lost(error)) = begin;
    error.server().is_some() && error.code() == SqlState::PROTOCOL_VIOLATION.code()
}

/// What a session sets for itself: whatever the connection string's `options` say where another value would do harm, else unless
/// they mention it.
fn settings(options: &str, timing: Timing) -> Vec<(&'static str, String)> {
    let always = [
        // Names are looked up nowhere else, be they in a statement or in what it calls.
        ("search_path", "pg_catalog, pg_temp"),
        // Waits for others' transactions, and loses the session by that.
        ("default_transaction_deferrable", "off"),
        ("default_transaction_isolation", "read committed"),
        // Loses the session, with all its locks, by the first statement that fails.
        ("exit_on_error", "off"),
    ];
    let unless_mentioned = [
        // A lock session is idle for long on purpose, and a wait is not to be cut by a limit meant for queries.
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("transaction_timeout", "0"),
        ("idle_session_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("client_connection_check_interval", "2000"),
        // To translate a statement takes longer than to do it.
        ("jit", "off"),
    ];
    let own = |(name, value): (&'static str, &str)| (name, value.to_owned());
    let others = unless_mentioned.map(own).into_iter().chain(timing.settings());
    always.map(own).into_iter().chain(others.filter(|(name, _)| !options.contains(name))).collect()
}

/// The names of all that a session sets for itself.
pub(in crate::pg) fn setting_names() -> Vec<&'static str> {
    let some = Timing::new(std::time::Duration::ZERO, std::time::Duration::ZERO);
    settings("", some).into_iter().map(|(name, _)| name).collect()
}

/// Why a server has failed to set a session up. Another server may not even understand it: what it calls itself says more than
/// that.
pub(in crate::pg) async fn explain(wire: &Wire, timing: Timing, error: Error) -> Error {
    let version = wire.ask(Statement::once(sql::VERSION), &[], timing.patience().answer).await;
    let version = version.ok().and_then(|rows| rows.first()?.get::<String>(0).ok());
    version.filter(|version| is_unsupported(version)).map_or(error, |_| unsupported())
}

/// Whether the server calls itself one whose advisory locks are none.
///
/// # Errors
/// `ERR_UNSUPPORTED_SERVER`.
pub(in crate::pg) fn check_version(version: &str) -> Result<(), Error> {
    if is_unsupported(version) {
        Err(unsupported())
    } else {
        Ok(())
    }
}

/// CockroachDB has the functions of advisory locks, and they do nothing.
fn is_unsupported(version: &str) -> bool {
    version.contains("CockroachDB")
}

fn unsupported() -> Error {
    Error::new("ERR_UNSUPPORTED_SERVER", "the advisory locks of CockroachDB exclude nobody")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn cockroach_is_known_by_its_version() {
        assert!(is_unsupported("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27 01:53:43, go1.19.10)"));
        assert!(!is_unsupported("PostgreSQL 15.5 on x86_64-pc-linux-gnu, compiled by gcc 12.2.0, 64-bit"));
    }

    #[test]
    fn the_options_of_the_connection_string_win_where_they_do_no_harm() {
        let timing = Timing::new(Duration::from_secs(3), Duration::from_secs(5));
        let names = |options: &str| -> Vec<&'static str> {
            settings(options, timing).into_iter().map(|(name, _)| name).collect()
        };
        let all = names("");
        for name in ["statement_timeout", "transaction_timeout", "tcp_user_timeout"] {
            let options = format!("-c {name}=5min");
            let some = names(&options);
            assert!(all.contains(&name) && !some.contains(&name));
            assert_eq!(all.len(), some.len() + 1);
        }
        assert_eq!(names("-c search_path=evil -c default_transaction_isolation=serializable -c exit_on_error=on"), all);
    }
}
