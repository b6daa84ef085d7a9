//! What is said through a pooler that lends a server session for one transaction: nothing of it outlives its transaction, and no
//! statement leaves a relation locked that is not read outside of the transaction which holds a lock.

use crate::core::{Key, Mode};

/// Begins the transaction that is to hold a lock, whatever the defaults are: its snapshot ends with each statement, it can write
/// nothing, and it waits for nobody's.
pub(in crate::pg) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY, NOT DEFERRABLE";

/// Ends it, and gives its locks up.
pub(in crate::pg) const COMMIT: &str = "COMMIT";

/// Takes a lock of this transaction if it is free, after it was prepared: with the fingerprint `$1`, by which it is known, and
/// without what could end it, by settings that the server must know. `$2` and `$3` are the halves of the key. Tells the process and
/// whether the lock is taken; and whether it is a standby and whether nothing can be written, where that is `asked_for`: it costs
/// as much as the lock.
///
/// The lock goes with the fingerprint: who sees the fingerprint afterwards is in the transaction that has the lock.
pub(in crate::pg) fn pin(space: i16, mode: Mode, settings: &[(&str, String)], asked_for: bool) -> String {
    let mut text = String::from("SELECT pg_catalog.pg_backend_pid(), ");
    let shared = if mode == Mode::Shared { "_shared" } else { "" };
    text.push_str(&if space == 1 {
        format!(
            "pg_catalog.pg_try_advisory_xact_lock{shared}(($2::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
             OPERATOR(pg_catalog.|) ($3::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295))"
        )
    } else {
        format!("pg_catalog.pg_try_advisory_xact_lock{shared}($2::pg_catalog.int4, $3::pg_catalog.int4)")
    });
    if asked_for {
        text.push_str(
            ", pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool",
        );
    }
    text.push_str(", pg_catalog.set_config('advisory_lock_native.session', $1::pg_catalog.text, true)");
    for (name, value) in settings {
        text.push_str(&format!(", pg_catalog.set_config('{name}', '{value}', true)"));
    }
    text
}

/// Takes one more lock of the transaction if it is free: `$1` and `$2` are the halves of the key, `$3` is the fingerprint of the
/// transaction that alone may take it. Null: this is another one, and nothing is done.
pub(in crate::pg) const fn take(key: Key, mode: Mode) -> &'static str {
    match (key, mode) {
        (Key::Pair(..), Mode::Exclusive) => {
            "SELECT CASE WHEN pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) $3::pg_catalog.text \
             THEN pg_catalog.pg_try_advisory_xact_lock($1::pg_catalog.int4, $2::pg_catalog.int4) END"
        }
        (Key::Pair(..), Mode::Shared) => {
            "SELECT CASE WHEN pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) $3::pg_catalog.text \
             THEN pg_catalog.pg_try_advisory_xact_lock_shared($1::pg_catalog.int4, $2::pg_catalog.int4) END"
        }
        (Key::Single(_), Mode::Exclusive) => {
            "SELECT CASE WHEN pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) $3::pg_catalog.text \
             THEN pg_catalog.pg_try_advisory_xact_lock(($1::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
             OPERATOR(pg_catalog.|) ($2::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295)) END"
        }
        (Key::Single(_), Mode::Shared) => {
            "SELECT CASE WHEN pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) $3::pg_catalog.text \
             THEN pg_catalog.pg_try_advisory_xact_lock_shared(($1::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
             OPERATOR(pg_catalog.|) ($2::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295)) END"
        }
    }
}

/// The fingerprint of the transaction.
pub(in crate::pg) const SHOW_FINGERPRINT: &str = "SHOW advisory_lock_native.session";

/// Asks for what tells nothing, and takes no snapshot.
pub(in crate::pg) const SHOW: &str = "SHOW transaction_isolation";

/// What a session must know before it is used, by a transaction that has the fingerprint `$1` from then on: the server's version,
/// whether it is a standby, whether nothing can be written, the default isolation of transactions, the number of the database, and
/// which of the settings `$2` the server has.
pub(in crate::pg) const CHECK: &str = "\
SELECT pg_catalog.version(), pg_catalog.pg_is_in_recovery(), \
 pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool, \
 pg_catalog.current_setting('default_transaction_isolation'), \
 (SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_database \
 WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()), \
 (SELECT pg_catalog.array_agg(name) FROM pg_catalog.unnest($2::pg_catalog.text[]) AS given(name) \
 WHERE pg_catalog.current_setting(name, true) IS NOT NULL), \
 pg_catalog.set_config('advisory_lock_native.session', $1::pg_catalog.text, true)";

/// Looks who has or awaits advisory locks of the database `$1` in whose key `$2` has the second half: both halves, the key space,
/// the mode, whether it is held, and the transaction. Touches nothing, and does nothing that costs: a thousand processes may wait.
pub(in crate::pg) const LOOK: &str = "\
SELECT classid, objid, objsubid, mode, granted, virtualtransaction FROM pg_catalog.pg_lock_status() \
 WHERE objid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.oid[]) AND locktype OPERATOR(pg_catalog.=) 'advisory' \
 AND database OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

/// One turn of waiting for a lock of the transaction that has this fingerprint, for `limit` milliseconds at most: a block that
/// catches its own end, so that the transaction goes on and the server's log does not show it. [`crate::pg::sql::TURN_OUTCOME`]
/// tells what has become of it. What is granted in the moment of the end is given up with the block.
pub(in crate::pg) fn turn(key: Key, mode: Mode, limit: u128, fingerprint: &str) -> String {
    let shared = if mode == Mode::Shared { "_shared" } else { "" };
    let key = match key {
        Key::Pair(high, low) => format!("'{high}'::pg_catalog.int4, '{low}'::pg_catalog.int4"),
        Key::Single(key) => format!("'{key}'::pg_catalog.int8"),
    };
    format!(
        "DO $turn$ BEGIN PERFORM pg_catalog.set_config('advisory_lock_native.turn', 'over', true); \
         IF pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) '{fingerprint}' THEN BEGIN \
         PERFORM pg_catalog.set_config('lock_timeout', '{limit}', true); \
         PERFORM pg_catalog.pg_advisory_xact_lock{shared}({key}); \
         PERFORM pg_catalog.set_config('advisory_lock_native.turn', 'granted', true); \
         EXCEPTION WHEN lock_not_available OR query_canceled OR deadlock_detected THEN END; END IF; \
         PERFORM pg_catalog.set_config('lock_timeout', '0', true); END $turn$"
    )
}
