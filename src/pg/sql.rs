//! Every statement that is sent to the server.

use crate::core::Mode;

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

/// Any number of actions in one round trip: `$1` codes, `$2` and `$3` the halves of the keys. Rows are worked off in
/// order. The backend's process id shows whether the session still has the backend that it began with.
pub(super) const BATCH: &str = "\
SELECT pg_backend_pid(), array_agg(CASE action \
 WHEN 0 THEN pg_try_advisory_lock(high, low) \
 WHEN 1 THEN pg_try_advisory_lock_shared(high, low) \
 WHEN 2 THEN pg_advisory_unlock(high, low) \
 WHEN 3 THEN pg_advisory_unlock_shared(high, low) \
 WHEN 4 THEN pg_advisory_lock_shared(high, low) IS NOT NULL \
 WHEN 8 THEN pg_try_advisory_lock((high::int8 << 32) | (low::int8 & 4294967295)) \
 WHEN 9 THEN pg_try_advisory_lock_shared((high::int8 << 32) | (low::int8 & 4294967295)) \
 WHEN 10 THEN pg_advisory_unlock((high::int8 << 32) | (low::int8 & 4294967295)) \
 WHEN 11 THEN pg_advisory_unlock_shared((high::int8 << 32) | (low::int8 & 4294967295)) \
 WHEN 12 THEN pg_advisory_lock_shared((high::int8 << 32) | (low::int8 & 4294967295)) IS NOT NULL \
 END) FROM unnest($1::int2[], $2::int4[], $3::int4[]) AS steps(action, high, low)";

/// Single actions on a pair, in the order of the codes 0 to 3: cheaper than a batch of one.
pub(super) const SINGLE: [&str; 4] = [
    "SELECT pg_backend_pid(), pg_try_advisory_lock($1, $2)",
    "SELECT pg_backend_pid(), pg_try_advisory_lock_shared($1, $2)",
    "SELECT pg_backend_pid(), pg_advisory_unlock($1, $2)",
    "SELECT pg_backend_pid(), pg_advisory_unlock_shared($1, $2)",
];

/// Takes a lock however long it takes, within `lock_timeout` (`$4`, for this statement only). `$1` and `$2` are the halves
/// of the key, `$3` tells exclusive from shared.
pub(super) fn wait(space: i16) -> &'static str {
    if space == 1 {
        "SELECT pg_backend_pid(), set_config('lock_timeout', $4, true), \
         CASE WHEN $3 THEN pg_advisory_lock(($1::int4::int8 << 32) | ($2::int4::int8 & 4294967295)) \
         ELSE pg_advisory_lock_shared(($1::int4::int8 << 32) | ($2::int4::int8 & 4294967295)) END"
    } else {
        "SELECT pg_backend_pid(), set_config('lock_timeout', $4, true), \
         CASE WHEN $3 THEN pg_advisory_lock($1::int4, $2::int4) ELSE pg_advisory_lock_shared($1::int4, $2::int4) END"
    }
}

/// The advisory locks of this session: halves of the key, key space, whether exclusive.
/// (Manual, section 54.12, "pg_locks": how an advisory key is spread over the columns.)
pub(super) const HELD: &str = "\
SELECT classid::int8::bit(32)::int4, objid::int8::bit(32)::int4, objsubid, mode = 'ExclusiveLock' \
 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()";

/// Whether any session waits for a key of this database.
pub(super) const CONTENDED: &str = "\
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
 AND classid::int8::bit(32)::int4 = $1 AND objid::int8::bit(32)::int4 = $2 AND objsubid = $3)";

/// Every session that holds or awaits a key of this database, holders first, then in the order of their coming.
/// `waitstart` is younger than some servers, so it is read by its name.
pub(super) const HOLDERS: &str = "\
SELECT l.pid, a.application_name, host(a.client_addr), l.mode = 'ExclusiveLock', l.granted, \
 (extract(epoch FROM (to_jsonb(l)->>'waitstart')::timestamptz) * 1000)::float8 AS waiting_since \
 FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' \
 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
 AND l.classid::int8::bit(32)::int4 = $1 AND l.objid::int8::bit(32)::int4 = $2 AND l.objsubid = $3 \
 ORDER BY l.granted DESC, waiting_since, l.pid";

/// The cheapest sign of life.
pub(super) const HEARTBEAT: &str = "SELECT pg_backend_pid()";

/// Marks the session and reads who serves it: process id, version, and the mark that was there before. `$1` is the
/// mark; `$2` and `$3` are names and values of settings, of which the server takes those that it knows.
pub(super) const SETUP: &str = "\
SELECT pg_backend_pid(), version(), current_setting('advisory_lock_native.session', true), \
 set_config('advisory_lock_native.session', $1, false), \
 (SELECT count(set_config(name, value, false)) FROM unnest($2::text[], $3::text[]) AS settings(name, value) \
  WHERE current_setting(name, true) IS NOT NULL)";
