//! Every statement that is sent to the server.

pub(super) mod pooled;

use crate::core::{Key, Mode};
use std::fmt;
use std::ops::RangeInclusive;

/// What one row of [`BATCH`] does: `smallint` codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Try(Mode),
    Unlock(Mode),
    /// Blocks, so only for a session that holds the key exclusively and therefore gets it at once, before any waiter.
    LockShared,
}

impl Action {
    /// The code of this action in the key space with this `objsubid`.
    pub fn code(self, space: i16) -> i16 {
        let action = match self {
            Action::Try(Mode::Exclusive) => 0,
            Action::Try(Mode::Shared) => 1,
            Action::Unlock(Mode::Exclusive) => 2,
            Action::Unlock(Mode::Shared) => 3,
            Action::LockShared => 4,
        };
        if space == 1 {
            action + 8
        } else {
            action
        }
    }
}

impl Action {
    /// Where the statements of a space in [`SINGLE`] have this action alone.
    pub fn single(self) -> Option<usize> {
        usize::try_from(self.code(2)).ok().filter(|&code| code < SINGLE[0].len())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Action::Try(Mode::Exclusive) => "try",
            Action::Try(Mode::Shared) => "try shared",
            Action::Unlock(Mode::Exclusive) => "unlock",
            Action::Unlock(Mode::Shared) => "unlock shared",
            Action::LockShared => "lock shared",
        })
    }
}

/// Any number of actions in one round trip: `$1` codes, `$2` and `$3` the halves of the keys. Rows are worked off in
/// order. The backend must still have the fingerprint of this session, `$4`: in any other nothing is done, and the answer is
/// null.
pub(super) const BATCH: &str = "\
SELECT pg_catalog.array_agg(CASE \
 WHEN action OPERATOR(pg_catalog.=) 0 THEN pg_catalog.pg_try_advisory_lock(high, low) \
 WHEN action OPERATOR(pg_catalog.=) 1 THEN pg_catalog.pg_try_advisory_lock_shared(high, low) \
 WHEN action OPERATOR(pg_catalog.=) 2 THEN pg_catalog.pg_advisory_unlock(high, low) \
 WHEN action OPERATOR(pg_catalog.=) 3 THEN pg_catalog.pg_advisory_unlock_shared(high, low) \
 WHEN action OPERATOR(pg_catalog.=) 4 THEN pg_catalog.pg_advisory_lock_shared(high, low) IS NOT NULL \
 WHEN action OPERATOR(pg_catalog.=) 8 THEN pg_catalog.pg_try_advisory_lock(single) \
 WHEN action OPERATOR(pg_catalog.=) 9 THEN pg_catalog.pg_try_advisory_lock_shared(single) \
 WHEN action OPERATOR(pg_catalog.=) 10 THEN pg_catalog.pg_advisory_unlock(single) \
 WHEN action OPERATOR(pg_catalog.=) 11 THEN pg_catalog.pg_advisory_unlock_shared(single) \
 WHEN action OPERATOR(pg_catalog.=) 12 THEN pg_catalog.pg_advisory_lock_shared(single) IS NOT NULL \
 END) FROM (\
 SELECT action, high, low, (high::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
 OPERATOR(pg_catalog.|) (low::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295) AS single \
 FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.int2[]), pg_catalog.unnest($2::pg_catalog.int4[]), \
 pg_catalog.unnest($3::pg_catalog.int4[])) AS given(action, high, low)\
) AS steps WHERE pg_catalog.current_setting('advisory_lock_native.session', true) \
 OPERATOR(pg_catalog.=) $4::pg_catalog.text";

/// A statement of one action on the key in `$1` and `$2`, in a backend with the fingerprint `$3` only. What follows the action is
/// never done, as the same condition stands before it: it has the server refuse who lacks the right to it.
macro_rules! alone {
    ($key:literal, $action:literal $(, $right:literal)?) => {
        concat!(
            "SELECT CASE WHEN pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) $3::pg_catalog.text \
             THEN pg_catalog.", $action, "(", $key, ")",
            $(" WHEN pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) $3::pg_catalog.text \
             THEN pg_catalog.", $right, "(", $key, ")",)?
            " END"
        )
    };
}

/// The single actions on a key of one space, in the order of the codes 0 to 3. Who may not give a lock up may not take it, as it
/// could only be given up with its session, and so with all that others hold there.
macro_rules! each_alone {
    ($key:literal) => {
        [
            alone!($key, "pg_try_advisory_lock", "pg_advisory_unlock"),
            alone!($key, "pg_try_advisory_lock_shared", "pg_advisory_unlock_shared"),
            alone!($key, "pg_advisory_unlock"),
            alone!($key, "pg_advisory_unlock_shared"),
        ]
    };
}

/// Single actions on a pair, and on a single key: cheaper than a batch of one. And a batch is refused to whoever lacks the right to
/// one function of [`BATCH`], whether it is to be called or not.
pub(super) const SINGLE: [[&str; 4]; 2] = [
    each_alone!("$1::pg_catalog.int4, $2::pg_catalog.int4"),
    each_alone!(
        "($1::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) \
         ($2::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295)"
    ),
];

/// Takes a lock however long it takes, within `lock_timeout` (`$4`, for this statement only). `$1` and `$2` are the halves
/// of the key, `$3` tells exclusive from shared, `$5` is the fingerprint of the backend that alone may take it.
pub(super) const fn wait(space: i16) -> &'static str {
    if space == 1 {
        "SELECT pg_catalog.current_setting('advisory_lock_native.session', true), pg_catalog.set_config('lock_timeout', $4, true), \
         CASE WHEN COALESCE(pg_catalog.current_setting('advisory_lock_native.session', true), '') OPERATOR(pg_catalog.<>) $5::pg_catalog.text THEN NULL \
         WHEN $3::pg_catalog.bool THEN pg_catalog.pg_advisory_lock(single) \
         ELSE pg_catalog.pg_advisory_lock_shared(single) END \
         FROM (SELECT ($1::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) \
         ($2::pg_catalog.int4::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295) AS single) AS key"
    } else {
        "SELECT pg_catalog.current_setting('advisory_lock_native.session', true), pg_catalog.set_config('lock_timeout', $4, true), \
         CASE WHEN COALESCE(pg_catalog.current_setting('advisory_lock_native.session', true), '') OPERATOR(pg_catalog.<>) $5::pg_catalog.text THEN NULL \
         WHEN $3::pg_catalog.bool THEN pg_catalog.pg_advisory_lock($1::pg_catalog.int4, $2::pg_catalog.int4) \
         ELSE pg_catalog.pg_advisory_lock_shared($1::pg_catalog.int4, $2::pg_catalog.int4) END"
    }
}

/// One turn of waiting for a lock, for `limit` milliseconds at most and for less than `deadlock_timeout`, in a backend with
/// this fingerprint alone: a
/// block that catches its own end, so that neither the server's log nor its count of rolled-back transactions shows a wait
/// that goes on. [`TURN_OUTCOME`] tells what has become of it.
///
/// Each turn in the queue costs the server something, so there are places for each key: locks of the turn's transaction, from the
/// key in `places` on, of which those with these numbers are open to this wait. Whoever finds none of them free has had no turn.
/// `None`: it needs none.
///
/// The lock may be granted in the moment of the end. So it is looked for where it can be had once more, as a session may hold a
/// lock twice; and given back where the role may not look. To take it once more and to give that back is one expression: between
/// two statements of the block a request to cancel would leave it held twice, and a release gives it up once.
pub(super) fn turn(
    key: Key,
    mode: Mode,
    limit: u128,
    places: Option<(i64, RangeInclusive<i64>)>,
    fingerprint: &str,
) -> String {
    let shared = if mode == Mode::Shared { "_shared" } else { "" };
    let kind = if mode == Mode::Shared { "ShareLock" } else { "ExclusiveLock" };
    let (high, low) = key.halves();
    let space = key.space();
    let key = match key {
        Key::Pair(high, low) => format!("'{high}'::pg_catalog.int4, '{low}'::pg_catalog.int4"),
        Key::Single(key) => format!("'{key}'::pg_catalog.int8"),
    };
    let (high, low) = (high.cast_unsigned(), low.cast_unsigned());
    let take_place = places.map_or_else(
        || "has_place := true;".to_owned(),
        |(places, open)| {
            let (first, last) = open.into_inner();
            format!(
                "FOR place IN REVERSE {last} .. {first} LOOP \
                 has_place := pg_catalog.pg_try_advisory_xact_lock('{places}'::pg_catalog.int8 OPERATOR(pg_catalog.|) place); \
                 EXIT WHEN has_place; END LOOP;"
            )
        },
    );
    format!(
        "DO $turn$ DECLARE has_place pg_catalog.bool := false; held pg_catalog.bool := false; BEGIN \
         IF pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) '{fingerprint}' THEN \
         {take_place} END IF; \
         IF has_place THEN BEGIN \
         PERFORM pg_catalog.set_config('lock_timeout', LEAST('{limit}'::pg_catalog.int8, \
         (pg_catalog.date_part('epoch', pg_catalog.current_setting('deadlock_timeout')::pg_catalog.interval) \
         OPERATOR(pg_catalog.*) 900)::pg_catalog.int8)::pg_catalog.text, true); \
         PERFORM pg_catalog.pg_advisory_lock{shared}({key}); \
         held := true; \
         EXCEPTION WHEN lock_not_available OR query_canceled THEN \
         IF pg_catalog.pg_try_advisory_lock{shared}({key}) AND pg_catalog.pg_advisory_unlock{shared}({key}) THEN \
         BEGIN held := EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.granted AND l.mode OPERATOR(pg_catalog.=) '{kind}' \
         AND l.classid OPERATOR(pg_catalog.=) '{high}'::pg_catalog.oid \
         AND l.objid OPERATOR(pg_catalog.=) '{low}'::pg_catalog.oid AND l.objsubid OPERATOR(pg_catalog.=) {space}); \
         EXCEPTION WHEN insufficient_privilege THEN \
         PERFORM pg_catalog.pg_advisory_unlock{shared}({key}); END; \
         END IF; END; END IF; \
         PERFORM pg_catalog.set_config('advisory_lock_native.turn', \
         CASE WHEN held THEN 'granted' WHEN has_place THEN 'over' ELSE 'full' END, false); END $turn$"
    )
}

/// The number of the last place in the queue of a key that is open to every wait; that of the first is 0.
pub(super) const LAST_COMMON_PLACE: i64 = 5;
/// The number of the last place of all: those between are for waits that have lasted.
pub(super) const LAST_PLACE: i64 = 15;
/// The bits of a place's key that say which place it is.
pub(super) const PLACE_BITS: i64 = 15;

/// Whether one of these places, of which those with the numbers from `$2` to `$3` count, is free.
macro_rules! any_of_places {
    ($last:literal $($place:literal)*) => {
        concat!(
            $("$2 OPERATOR(pg_catalog.<=) ", $place, " AND $3 OPERATOR(pg_catalog.>=) ", $place,
            " AND pg_catalog.pg_try_advisory_xact_lock($1 OPERATOR(pg_catalog.|) ", $place, ") OR ",)*
            "$3::pg_catalog.int8 OPERATOR(pg_catalog.>=) ", $last, " AND $2::pg_catalog.int8 OPERATOR(pg_catalog.<=) ", $last,
            " AND pg_catalog.pg_try_advisory_xact_lock($1::pg_catalog.int8 OPERATOR(pg_catalog.|) ", $last, ")"
        )
    };
}

/// The fingerprint of the backend, `$4`, and whether one of the places from `$1` on with the numbers from `$2` to `$3` is free: it is
/// taken until the end of this statement.
pub(super) const FREE_PLACE: &str = concat!(
    "SELECT pg_catalog.current_setting('advisory_lock_native.session', true), \
     CASE WHEN pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) $4::pg_catalog.text THEN ",
    any_of_places!(0 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1),
    " ELSE false END"
);

/// The fingerprint of the backend, and what its latest [`turn`] has brought: `granted`, `over`, or `full` where it had no place.
pub(super) const TURN_OUTCOME: &str = "SELECT pg_catalog.current_setting('advisory_lock_native.session', true), \
 pg_catalog.current_setting('advisory_lock_native.turn', true)";

/// The advisory locks of this session: halves of the key, key space, whether exclusive.
/// (Manual, section 54.12, "pg_locks": how an advisory key is spread over the columns.)
pub(super) const HELD: &str = "\
SELECT classid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4, \
 objid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4, objsubid, mode OPERATOR(pg_catalog.=) 'ExclusiveLock' \
 FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND granted \
 AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()";

/// Whether any session waits for a key of this database.
pub(super) const CONTENDED: &str = "\
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND NOT granted \
 AND database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
 WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
 AND classid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 OPERATOR(pg_catalog.=) $1 \
 AND objid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 OPERATOR(pg_catalog.=) $2 \
 AND objsubid OPERATOR(pg_catalog.=) $3)";

/// Whether any other session holds a key of this database, or a prepared transaction, which has no process.
pub(super) const HELD_BY_OTHERS: &str = "\
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND granted \
 AND (pid IS NULL OR pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()) \
 AND database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
 WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
 AND classid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 OPERATOR(pg_catalog.=) $1 \
 AND objid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 OPERATOR(pg_catalog.=) $2 \
 AND objsubid OPERATOR(pg_catalog.=) $3)";

/// The bytes of a text that others wrote, as the server has them. To check or to cut it as a text fails where it is none. So each
/// backslash (92) is doubled, which is all that the text of a `bytea` escapes.
macro_rules! raw_bytes {
    ($text:literal) => {
        concat!(
            "pg_catalog.replace(",
            $text,
            ", pg_catalog.chr(92), pg_catalog.repeat(pg_catalog.chr(92), 2))::pg_catalog.bytea"
        )
    };
}

/// The name, in UTF-8, of the prepared transaction that has the lock `l` of `pg_locks`: its lock on its own number, which others wait
/// for, is known by the virtual number that all its locks have. Where `as_bytes` is true, and where no encoding is known, it is what
/// the server has: some bytes stand for nothing.
macro_rules! prepared_transaction {
    ($as_bytes:literal) => {
        concat!(
        "CASE WHEN l.pid IS NULL THEN (SELECT CASE WHEN ", $as_bytes, "::pg_catalog.bool \
         OR pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) 'SQL_ASCII' THEN ", raw_bytes!("p.gid"), " \
         ELSE pg_catalog.convert_to(p.gid, 'UTF8') END FROM pg_catalog.pg_prepared_xacts p JOIN pg_catalog.pg_locks own \
         ON own.locktype OPERATOR(pg_catalog.=) 'transactionid' AND own.transactionid OPERATOR(pg_catalog.=) p.transaction \
         AND own.pid IS NULL AND own.virtualtransaction OPERATOR(pg_catalog.=) l.virtualtransaction) END"
        )
    };
}

/// Every session that holds or awaits a key of this database, holders first, then in the order of their coming; and the prepared
/// transactions that hold it, which have no process. `waitstart` is younger than some servers, so it is read by its name. `$4`:
/// whether names are to be had as bytes.
pub(super) const HOLDERS: &str = concat!("\
SELECT l.pid, a.application_name, pg_catalog.host(a.client_addr), l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock', l.granted, \
 (pg_catalog.date_part('epoch', \
 (pg_catalog.to_jsonb(l) OPERATOR(pg_catalog.->>) 'waitstart')::pg_catalog.timestamptz) \
 OPERATOR(pg_catalog.*) 1000)::pg_catalog.float8 AS waiting_since, \
 (pg_catalog.date_part('epoch', a.backend_start) OPERATOR(pg_catalog.*) 1000)::pg_catalog.float8, \
 ", prepared_transaction!("$4"), " \
 FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid \
 WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
 AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
 WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
 AND l.classid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 OPERATOR(pg_catalog.=) $1 \
 AND l.objid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 OPERATOR(pg_catalog.=) $2 \
 AND l.objsubid OPERATOR(pg_catalog.=) $3 \
 ORDER BY l.granted DESC, waiting_since, l.pid");

/// Every session that holds or awaits a key of this database, of each key holders first: process, halves of the key, key space,
/// whether exclusive, whether granted, since when it waits, application, address, since when it is there; the comment with which it
/// says what it holds, in bytes and once for each session; whether the key is a link
/// ([`deadlock::PUBLISH_LINKS`]), whether this role may see what the session does, the server's time, and the name of the prepared
/// transaction, which has no process, if it is one. `$1`: whether names are to be had as bytes.
///
/// What sessions of other databases do is not looked at: they have none of these locks, and their texts may be in another encoding.
pub(super) const OVERVIEW: &str = concat!("\
WITH locks AS (\
 SELECT l.pid, l.virtualtransaction, l.objsubid, l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AS exclusive, l.granted, \
 l.classid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 AS high, \
 l.objid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 AS low, \
 (pg_catalog.date_part('epoch', \
 (pg_catalog.to_jsonb(l) OPERATOR(pg_catalog.->>) 'waitstart')::pg_catalog.timestamptz) \
 OPERATOR(pg_catalog.*) 1000)::pg_catalog.float8 AS waiting_since \
 FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
 AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
 WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())\
), shared_keys AS (\
 SELECT pid, high, low, (high::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
 OPERATOR(pg_catalog.|) (low::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295) AS key FROM locks \
 WHERE granted AND NOT exclusive AND objsubid OPERATOR(pg_catalog.=) 1\
), links AS (\
 SELECT link.pid, link_and_time.high, link_and_time.low FROM shared_keys link JOIN shared_keys time ON time.pid OPERATOR(pg_catalog.=) link.pid \
 AND time.high OPERATOR(pg_catalog.=) pg_catalog.hashint8(link.key) \
 CROSS JOIN LATERAL (VALUES (link.high, link.low), (time.high, time.low)) AS link_and_time(high, low)\
), sessions AS (\
 SELECT pid, application_name, pg_catalog.host(client_addr) AS address, \
 (pg_catalog.date_part('epoch', backend_start) OPERATOR(pg_catalog.*) 1000)::pg_catalog.float8 AS connected_since, \
 CASE WHEN query OPERATOR(pg_catalog.~~) '/* advisory-lock: %' THEN pg_catalog.substring(", raw_bytes!("query"), ", 1, 1000) END AS comment, \
 backend_start IS NOT NULL AS is_visible \
 FROM pg_catalog.pg_stat_activity WHERE datid OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
 WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())\
) SELECT l.pid, l.high, l.low, l.objsubid, l.exclusive, l.granted, l.waiting_since, a.application_name, a.address, \
 a.connected_since, CASE WHEN pg_catalog.row_number() OVER (PARTITION BY l.pid \
 ORDER BY l.objsubid DESC, l.granted, l.exclusive DESC) OPERATOR(pg_catalog.=) 1 THEN a.comment END, \
 l.objsubid OPERATOR(pg_catalog.=) 1 AND l.granted AND NOT l.exclusive AND EXISTS (SELECT FROM links \
 WHERE links.pid OPERATOR(pg_catalog.=) l.pid AND links.high OPERATOR(pg_catalog.=) l.high AND links.low OPERATOR(pg_catalog.=) l.low), \
 COALESCE(a.is_visible, true), (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::pg_catalog.float8, \
 ", prepared_transaction!("$1"), " \
 FROM locks l LEFT JOIN sessions a ON a.pid OPERATOR(pg_catalog.=) l.pid \
 ORDER BY l.objsubid DESC, l.high, l.low, l.granted DESC, l.waiting_since, l.pid");

/// The cheapest sign of life: the backend's fingerprint.
pub(super) const HEARTBEAT: &str = "SELECT pg_catalog.current_setting('advisory_lock_native.session', true)";

/// The same behind a comment, which is for those who look at what the session does.
pub(super) fn heartbeat_with(comment: &str) -> String {
    format!("{comment}{HEARTBEAT}")
}

/// A sign of life of a moment that others can compare: the backend's fingerprint, with the server's time, in seconds since 1970.
pub(super) const VERIFY: &str = "SELECT pg_catalog.current_setting('advisory_lock_native.session', true), \
 pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())";

/// Takes the key `$1` for a fenced hold, and a token: the number of this transaction, which only grows. The message gives the
/// transaction something to write, and so the number outlives a crash of the server once it is committed to disk: without either
/// it may be given again. In a backend with the fingerprint `$2` only; and for those only who may give the key up, as in [`SINGLE`].
pub(super) const FENCE_HOLD: &str = "\
SELECT fingerprint, CASE WHEN own THEN pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8) \
 WHEN own THEN pg_catalog.pg_advisory_unlock($1::pg_catalog.int8) END, \
 CASE WHEN own THEN pg_catalog.txid_current() END, \
 CASE WHEN own THEN pg_catalog.pg_logical_emit_message(true, 'advisory_lock_native', ''::pg_catalog.text) END, \
 CASE WHEN own AND commit OPERATOR(pg_catalog.=) 'off' THEN pg_catalog.set_config('synchronous_commit', 'local', true) END \
 FROM (SELECT fingerprint, commit, COALESCE(fingerprint, '') OPERATOR(pg_catalog.=) $2::pg_catalog.text AS own \
 FROM (SELECT pg_catalog.current_setting('advisory_lock_native.session', true) AS fingerprint, \
 pg_catalog.current_setting('synchronous_commit') AS commit) AS found OFFSET 0) AS backend";

/// What goes before [`SETUP`]: a transaction in which the server's own settings do no harm. None of these takes a snapshot.
pub(super) const BEFORE_SETUP: [&str; 4] = [
    "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE",
    "SET LOCAL idle_in_transaction_session_timeout TO 0",
    "SET LOCAL statement_timeout TO 0",
    "SET LOCAL exit_on_error TO off",
];

/// Sets the session up, if it is served by backend `$4` and finds the fingerprint `$5` there (empty: none) and no more than `$6`
/// advisory locks (null: it does not matter): sets the fingerprint `$1`, and the settings `$2` to the values `$3`, of which the
/// server takes those that it knows. Tells who serves it: process id, version, the fingerprint that was found, whether the
/// session is set up, whether it is a standby and whether nothing can be written.
///
/// `OFFSET 0` has the fingerprint looked up before it is set.
pub(super) const SETUP: &str = "\
SELECT pid, pg_catalog.version(), fingerprint, own, pg_catalog.pg_is_in_recovery(), \
 pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool, \
 CASE WHEN own THEN pg_catalog.set_config('advisory_lock_native.session', $1, false) END, \
 CASE WHEN own THEN (SELECT pg_catalog.count(pg_catalog.set_config(name, value, false)) \
 FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.text[])) AS settings(name, value) \
 WHERE pg_catalog.current_setting(name, true) IS NOT NULL) END \
 FROM (SELECT pid, fingerprint, pid OPERATOR(pg_catalog.=) $4::pg_catalog.int4 \
 AND COALESCE(fingerprint, '') OPERATOR(pg_catalog.=) $5::pg_catalog.text \
 AND CASE WHEN $6::pg_catalog.int8 IS NULL THEN true ELSE (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l \
 WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) \
 OPERATOR(pg_catalog.<=) $6::pg_catalog.int8 END AS own \
 FROM (SELECT pg_catalog.pg_backend_pid() AS pid, \
 pg_catalog.current_setting('advisory_lock_native.session', true) AS fingerprint) AS found OFFSET 0) AS backend";

/// Ends the set-up.
pub(super) const COMMIT: &str = "COMMIT";

/// What the server calls itself.
pub(super) const VERSION: &str = "SELECT pg_catalog.version()";

/// Who serves a connection: process id, and the fingerprint of a session of this package.
pub(super) const SERVED_BY: &str =
    "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('advisory_lock_native.session', true)";

/// Takes a lock by which the session is to be kept, in words that a pooler can read.
pub(super) const PIN: &str = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8)";

/// How many advisory locks the session has.
pub(super) const LOCK_COUNT: &str = "\
SELECT pg_catalog.pg_backend_pid(), pg_catalog.count(*) FROM pg_catalog.pg_locks \
 WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()";

/// Undoes in backend `$1`, which others get, what a session has done there. With its fingerprint `$2` that is all:
/// locks, the settings `$3`, the fingerprint. Without it that is the lock `$4` of [`PIN`] (null: none): the rest would
/// be somebody else's. Tells whether this was that backend.
pub(super) const UNDO: &str = "\
SELECT own, CASE WHEN has_fingerprint THEN (SELECT pg_catalog.pg_advisory_unlock_all() IS NULL) \
 WHEN own THEN pg_catalog.pg_advisory_unlock($4::pg_catalog.int8) END, \
 CASE WHEN has_fingerprint THEN (SELECT pg_catalog.count(pg_catalog.set_config(name, reset_val, false)) \
 FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.text[])) END, \
 CASE WHEN has_fingerprint THEN pg_catalog.set_config('advisory_lock_native.session', '', false) END \
 FROM (SELECT own, own AND COALESCE(mark, '') OPERATOR(pg_catalog.=) $2::pg_catalog.text AS has_fingerprint \
 FROM (SELECT pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $1::pg_catalog.int4 AS own, \
 pg_catalog.current_setting('advisory_lock_native.session', true) AS mark) AS found OFFSET 0) AS backend";

pub(super) mod deadlock;
pub(super) mod fence;
#[cfg(test)]
mod tests;
