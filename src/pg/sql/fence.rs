//! The statement that others send in a transaction of their own, to have it fail unless a hold still stands.

use crate::core::Key;
use std::fmt::Write;

/// One key of a fenced hold.
pub(in crate::pg) struct Part {
    /// What is held.
    pub key: Key,
    /// What only this hold has beside it.
    pub own_key: Key,
    /// What the transaction keeps from the next holder.
    pub gate: Key,
}

/// The row of an advisory lock in `pg_locks`: `classid`, `objid`, `objsubid`.
fn columns(key: Key) -> String {
    let (high, low) = key.halves();
    let (high, low, space) = (high.cast_unsigned(), low.cast_unsigned(), key.space());
    format!("'{high}'::pg_catalog.oid, '{low}'::pg_catalog.oid, {space}")
}

fn arguments(key: Key) -> String {
    match key {
        Key::Pair(high, low) => format!("'{high}'::pg_catalog.int4, '{low}'::pg_catalog.int4"),
        Key::Single(key) => format!("'{key}'::pg_catalog.int8"),
    }
}

/// One block of constants, for all keys of a hold.
///
/// First the gates are taken, to the end of the transaction: the next holder waits for them after it has got the key. Then it is
/// looked whether the key and the hold's own one are held by one backend, by one look at all locks. A dying backend gives its
/// locks up one after the other, so that either alone may be there when the other has been taken by somebody else.
///
/// `COMMIT` is refused here in two ways: within a transaction as anywhere in a statement, outside of one because of the block
/// around it. So the two messages, in whichever language, differ only where there is no transaction that could keep a gate.
///
/// With `exit_on_error` even an error that is caught ends the session, so that is off meanwhile.
///
/// `lock` is how the lock is called in messages: it must have neither quotes nor backslashes nor dollar signs.
pub(in crate::pg) fn statement(parts: &[Part], lock: &str) -> String {
    let mut gates = String::new();
    let mut rows = String::new();
    for (place, part) in parts.iter().enumerate() {
        let _ = write!(gates, "PERFORM pg_catalog.pg_advisory_xact_lock_shared({}); ", arguments(part.gate));
        for (is_own, key) in [(false, part.key), (true, part.own_key)] {
            let comma = if rows.is_empty() { "" } else { ", " };
            let _ = write!(rows, "{comma}({place}, {is_own}, {})", columns(key));
        }
    }
    let count = parts.len();
    format!(
        "DO $fence$ DECLARE refused pg_catalog.text; refused_in_any pg_catalog.text; \
         ends_session pg_catalog.text := pg_catalog.current_setting('exit_on_error'); BEGIN \
         PERFORM pg_catalog.set_config('exit_on_error', 'off', true); \
         BEGIN COMMIT; EXCEPTION WHEN invalid_transaction_termination THEN refused := SQLERRM; END; \
         BEGIN EXECUTE 'DO ''BEGIN COMMIT; END'''; EXCEPTION WHEN invalid_transaction_termination THEN refused_in_any := SQLERRM; END; \
         PERFORM pg_catalog.set_config('exit_on_error', ends_session, true); \
         IF refused OPERATOR(pg_catalog.<>) refused_in_any THEN RAISE EXCEPTION USING ERRCODE = '25P01', \
         MESSAGE = 'a fence protects nothing outside of a transaction', \
         HINT = 'Send BEGIN first, then the fence, then what it is to protect.'; END IF; \
         {gates}\
         IF (SELECT pg_catalog.count(*) FROM (SELECT part FROM (VALUES {rows}) AS parts(part, is_own, high, low, space) \
         JOIN pg_catalog.pg_locks l ON l.classid OPERATOR(pg_catalog.=) high AND l.objid OPERATOR(pg_catalog.=) low \
         AND l.objsubid OPERATOR(pg_catalog.=) space WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.pid IS NOT NULL \
         AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
         WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
         GROUP BY part, l.pid HAVING pg_catalog.count(DISTINCT is_own) OPERATOR(pg_catalog.=) 2) AS held) \
         OPERATOR(pg_catalog.<>) {count} THEN RAISE EXCEPTION USING ERRCODE = '55000', \
         MESSAGE = 'the lock {lock} is not held any more by the holder of this fence'; END IF; END $fence$"
    )
}
