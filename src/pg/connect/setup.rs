//! What every new session is told first, and what it must answer to be trusted with locks.

use crate::error::Error;
use crate::pg::connect::config::{ConnectConfig, Server};
use crate::pg::fault::Fault;
use crate::pg::session::call::Statement;
use crate::pg::session::row::Row;
use crate::pg::session::wire::Wire;
use crate::pg::sql;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// The server must not give a lock of a silent client to the next before that client has told its holder. The client
/// takes a heartbeat and this to do so.
pub(in crate::pg) const ANSWER_LIMIT: Duration = Duration::from_millis(4800);
/// How much longer than that the server waits.
const SERVER_WAITS: Duration = Duration::from_secs(7);
/// How much longer than that the latest sign of life promises that the session is there: with room for the way of a message.
const PROMISE_LASTS: Duration = Duration::from_secs(4);

/// How long the latest sign of life promises that the session is there.
pub(in crate::pg) fn promise(heartbeat: Duration) -> Duration {
    heartbeat + ANSWER_LIMIT + PROMISE_LASTS
}

/// Sets the session up; the process id of its backend, and what kind of server that is.
///
/// # Errors
/// `ERR_TRANSACTION_POOLING`, `ERR_UNSUPPORTED_SERVER`, or what the server says.
pub(in crate::pg) async fn set_up(
    wire: &Wire,
    config: &ConnectConfig,
    heartbeat: Duration,
) -> Result<(i32, Server), Error> {
    let mut settings = settings(config.options.as_deref().unwrap_or(""), heartbeat);
    let row = match apply(wire, &settings).await {
        // Not every platform's server can watch a client while it works; without it, a dead client's wait lasts a turn.
        Err(error) if error.code() == SqlState::INVALID_PARAMETER_VALUE.code() => {
            settings.retain(|(name, _)| *name != "client_connection_check_interval");
            apply(wire, &settings).await?
        }
        answer => answer?,
    };
    let (pid, version, mark): (i32, String, Option<String>) = (row.get(0)?, row.get(1)?, row.try_get(2)?);
    if is_unsupported(&version) {
        return Err(Error::new("ERR_UNSUPPORTED_SERVER", "the advisory locks of CockroachDB exclude nobody"));
    }
    if mark.is_some_and(|mark| !mark.is_empty()) {
        return Err(Error::transaction_pooling());
    }
    Ok((pid, Server { is_standby: row.get(5)?, is_read_only: row.get(6)? }))
}

async fn apply(wire: &Wire, settings: &[(&str, String)]) -> Result<Row, Error> {
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    let mark = format!("{}.{}", std::process::id(), SESSIONS.fetch_add(1, Ordering::Relaxed));
    let (names, values): (Vec<&str>, Vec<&str>) = settings.iter().map(|(name, value)| (*name, value.as_str())).unzip();
    let parameters = [(&mark as _, Type::TEXT), (&names as _, Type::TEXT_ARRAY), (&values as _, Type::TEXT_ARRAY)];
    let asked = wire.ask(Statement::once(sql::SETUP), &parameters, ANSWER_LIMIT);
    let rows = asked.await.map_err(Fault::into_error)?;
    rows.into_iter().next().ok_or_else(|| Error::protocol("no row"))
}

/// What a session sets for itself, unless the connection string's `options` mention it.
fn settings(options: &str, heartbeat: Duration) -> Vec<(&'static str, String)> {
    // The holder hears of a silent network after a heartbeat and ANSWER_LIMIT at the latest; the server waits longer.
    let told_after = heartbeat + ANSWER_LIMIT;
    let keepalive_idle = told_after.as_secs() + 2;
    let settings = [
        // A lock session is idle for long on purpose, and a wait is not to be cut by a limit meant for queries.
        ("statement_timeout", "0".to_owned()),
        ("lock_timeout", "0".to_owned()),
        ("idle_session_timeout", "0".to_owned()),
        ("idle_in_transaction_session_timeout", "0".to_owned()),
        ("tcp_keepalives_idle", keepalive_idle.to_string()),
        ("tcp_keepalives_interval", "3".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", (told_after + SERVER_WAITS).as_millis().to_string()),
        ("client_connection_check_interval", "2000".to_owned()),
    ];
    settings.into_iter().filter(|(name, _)| !options.contains(name)).collect()
}

/// The names of all that a session sets for itself.
pub(in crate::pg) fn setting_names() -> Vec<&'static str> {
    settings("", Duration::ZERO).into_iter().map(|(name, _)| name).collect()
}

/// CockroachDB has the functions of advisory locks, and they do nothing.
fn is_unsupported(version: &str) -> bool {
    version.contains("CockroachDB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cockroach_is_known_by_its_version() {
        assert!(is_unsupported("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27 01:53:43, go1.19.10)"));
        assert!(!is_unsupported("PostgreSQL 15.5 on x86_64-pc-linux-gnu, compiled by gcc 12.2.0, 64-bit"));
    }

    #[test]
    fn the_options_of_the_connection_string_win() {
        let names = |options| settings(options, Duration::from_secs(3)).into_iter().map(|(name, _)| name).collect();
        let all: Vec<&str> = names("");
        let some: Vec<&str> = names("-c statement_timeout=5min");
        assert!(all.contains(&"statement_timeout") && !some.contains(&"statement_timeout"));
        assert_eq!(all.len(), some.len() + 1);
    }

    #[test]
    fn the_server_gives_up_a_silent_client_after_the_holder_was_told() {
        for heartbeat in [100, 3000, 60_000].map(Duration::from_millis) {
            let told = heartbeat + ANSWER_LIMIT;
            let seconds = |name| {
                let settings = settings("", heartbeat);
                settings.iter().find(|(known, _)| *known == name).unwrap().1.parse::<u64>().unwrap()
            };
            let gives_up =
                seconds("tcp_keepalives_idle") + seconds("tcp_keepalives_interval") * seconds("tcp_keepalives_count");
            assert!(Duration::from_secs(gives_up) > told + Duration::from_secs(5));
            assert!(Duration::from_millis(seconds("tcp_user_timeout")) > told + Duration::from_secs(5));
        }
    }
}
