//! Every statement that is sent to the server.

use crate::core::Mode;
use std::fmt;

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
    /// Where [`SINGLE`] has a statement for this action alone.
    pub fn single(self, space: i16) -> Option<usize> {
        usize::try_from(self.code(space)).ok().filter(|&code| code < SINGLE.len())
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
/// order. The session must still have the backend that it began with, `$4`: in any other nothing is done, and the answer
/// is null.
pub(super) const BATCH: &str = "\
SELECT array_agg(CASE action \
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
 END) FROM unnest($1::int2[], $2::int4[], $3::int4[]) AS steps(action, high, low) WHERE pg_backend_pid() = $4::int4";

/// Single actions on a pair, in the order of the codes 0 to 3: cheaper than a batch of one. In backend `$3` only.
pub(super) const SINGLE: [&str; 4] = [
    "SELECT CASE WHEN pg_backend_pid() = $3 THEN pg_try_advisory_lock($1::int4, $2::int4) END",
    "SELECT CASE WHEN pg_backend_pid() = $3 THEN pg_try_advisory_lock_shared($1::int4, $2::int4) END",
    "SELECT CASE WHEN pg_backend_pid() = $3 THEN pg_advisory_unlock($1::int4, $2::int4) END",
    "SELECT CASE WHEN pg_backend_pid() = $3 THEN pg_advisory_unlock_shared($1::int4, $2::int4) END",
];

/// Takes a lock however long it takes, within `lock_timeout` (`$4`, for this statement only). `$1` and `$2` are the halves
/// of the key, `$3` tells exclusive from shared, `$5` is the backend that alone may take it.
pub(super) fn wait(space: i16) -> &'static str {
    if space == 1 {
        "SELECT pg_backend_pid(), set_config('lock_timeout', $4, true), \
         CASE WHEN pg_backend_pid() <> $5 THEN NULL WHEN $3 THEN pg_advisory_lock(($1::int4::int8 << 32) | ($2::int4::int8 & 4294967295)) \
         ELSE pg_advisory_lock_shared(($1::int4::int8 << 32) | ($2::int4::int8 & 4294967295)) END"
    } else {
        "SELECT pg_backend_pid(), set_config('lock_timeout', $4, true), \
         CASE WHEN pg_backend_pid() <> $5 THEN NULL WHEN $3 THEN pg_advisory_lock($1::int4, $2::int4) ELSE pg_advisory_lock_shared($1::int4, $2::int4) END"
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

/// Which of the locks `$1` of this process some session waits for, be it in the server's queue or by a published link; and the
/// time in milliseconds, of which 32 bits count. A lock is spelled as the columns of `pg_locks` have it, `x` for exclusive
/// or `s` for shared: `classid.objid.objsubid.x`.
pub(super) const WANTED: &str = "\
WITH locks AS (\
 SELECT concat_ws('.', classid, objid, objsubid) AS key, mode = 'ExclusiveLock' AS exclusive, granted, objid, objsubid \
 FROM pg_locks WHERE locktype = 'advisory' \
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())\
), wanted AS (\
 SELECT key || '.x' AS lock FROM locks WHERE NOT granted \
 UNION SELECT key || '.s' FROM locks WHERE NOT granted AND exclusive\
) SELECT pg_backend_pid(), (extract(epoch FROM clock_timestamp()) * 1000)::int8 & 4294967295, \
 array_agg(place) FILTER (WHERE own.lock IN (SELECT lock FROM wanted) OR hashtext(own.lock || '0') IN \
 (SELECT objid::int8::bit(32)::int4 FROM locks WHERE granted AND NOT exclusive AND objsubid = 1)) \
 FROM unnest($1::text[]) WITH ORDINALITY AS own(lock, place)";

/// Publishes or (`$4` false) withdraws links: "who holds `$1` waits for `$2`, since `$3`". A link is a shared lock on a single key made
/// of two hashes; a second one holds its hash and the time. Twice, of different hashes, to rule out chance. In backend `$5`
/// only.
pub(super) const MARK: &str = "\
SELECT pg_backend_pid(), count(CASE WHEN $4 THEN pg_try_advisory_lock_shared(mark) \
 ELSE pg_advisory_unlock_shared(mark) END) FROM (\
 SELECT (hashtext(held || look)::int8 << 32) | (hashtext(awaited || look)::int8 & 4294967295) AS link, since \
 FROM unnest($1::text[], $2::text[], $3::int8[]) AS links(held, awaited, since) \
 CROSS JOIN (VALUES ('0'), ('1')) AS looks(look)\
) AS links CROSS JOIN LATERAL (VALUES (link), ((hashint8(link)::int8 << 32) | since)) AS marks(mark) WHERE pg_backend_pid() = $5";

/// Which of the links `$1`, `$2` of this session are the youngest of a ring, by the hashes of look `$3`. A way leads from
/// a lock to one that its holder waits for; who waits exclusively waits for holders of both modes.
///
/// Steps are the published links, and the plain sessions that hold and wait themselves. Of those only waits that last count
/// (a session of ours may wait for some milliseconds with the locks of many owners); `waitstart` is younger than some servers,
/// where such sessions are not seen. The rank of a step is the age of its wait, then its process; a plain session, which cannot be
/// refused, counts as the oldest.
pub(super) const RINGS: &str = "\
WITH RECURSIVE locks AS (\
 SELECT pid, granted, mode = 'ExclusiveLock' AS exclusive, objsubid, classid::int8::bit(32)::int4 AS high, \
 objid::int8::bit(32)::int4 AS low, concat_ws('.', classid, objid, objsubid) AS key, \
 clock_timestamp() - (to_jsonb(l)->>'waitstart')::timestamptz AS age \
 FROM pg_locks l WHERE locktype = 'advisory' \
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())\
), marks AS (\
 SELECT pid, high, low, (high::int8 << 32) | (low::int8 & 4294967295) AS key FROM locks \
 WHERE granted AND NOT exclusive AND objsubid = 1\
), steps(held, awaited, pid, age) AS (\
 SELECT link.high, link.low, link.pid, \
 ((extract(epoch FROM statement_timestamp()) * 1000)::int8 - time.low) & 4294967295 \
 FROM marks link JOIN marks time ON time.pid = link.pid AND time.high = hashint8(link.key) \
 UNION ALL \
 SELECT hashtext(g.key || CASE WHEN g.exclusive THEN '.x' ELSE '.s' END || $3), hashtext(w.key || modes.mode || $3), w.pid, \
 4294967295 \
 FROM locks w JOIN locks g USING (pid) CROSS JOIN (VALUES ('.x'), ('.s')) AS modes(mode) \
 WHERE g.granted AND NOT w.granted AND w.key <> g.key AND (w.exclusive OR modes.mode = '.x') AND w.age > interval '500 ms'\
), links AS (\
 SELECT held, awaited, pid, (least(age, 2147483647) << 32) | pid AS rank FROM steps\
), own AS (\
 SELECT DISTINCT place, held, awaited, rank FROM links JOIN (\
 SELECT place, hashtext(held || $3) AS held, hashtext(awaited || $3) AS awaited \
 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given(held, awaited, place)\
 ) AS given USING (held, awaited) WHERE pid = pg_backend_pid()\
), way(place, node, moved, rank) AS (\
 SELECT place, awaited, false, 9223372036854775807 FROM own \
 UNION \
 SELECT way.place, links.awaited, true, least(way.rank, links.rank) FROM way JOIN links ON links.held = way.node \
 WHERE links.held <> links.awaited OR links.pid <> pg_backend_pid()\
) SELECT pg_backend_pid(), array_agg(DISTINCT own.place) FROM own JOIN way USING (place) \
 WHERE way.moved AND way.node = own.held AND own.rank <= way.rank";

/// The cheapest sign of life.
pub(super) const HEARTBEAT: &str = "SELECT pg_backend_pid()";

/// Marks the session and reads who serves it: process id, version, the mark that was there before, whether it is a standby
/// and whether nothing can be written. `$1` is the mark; `$2` and `$3` are names and values of settings, of which the server
/// takes those that it knows.
pub(super) const SETUP: &str = "\
SELECT pg_backend_pid(), version(), current_setting('advisory_lock_native.session', true), \
 set_config('advisory_lock_native.session', $1, false), \
 (SELECT count(set_config(name, value, false)) FROM unnest($2::text[], $3::text[]) AS settings(name, value) \
  WHERE current_setting(name, true) IS NOT NULL), \
 pg_is_in_recovery(), current_setting('transaction_read_only')::bool";

/// Who serves a connection: process id, and the mark of a session of this package.
pub(super) const SERVED_BY: &str = "SELECT pg_backend_pid(), current_setting('advisory_lock_native.session', true)";

/// Undoes what a session has done to backend `$1`, which others share: locks, the settings `$2`, the mark. Tells whether this
/// was that backend.
pub(super) const GIVE_BACK: &str = "\
SELECT pg_backend_pid() = $1::int4, CASE WHEN pg_backend_pid() = $1 THEN (SELECT pg_advisory_unlock_all() IS NULL) END, \
 CASE WHEN pg_backend_pid() = $1 THEN \
 (SELECT count(set_config(name, reset_val, false)) FROM pg_settings WHERE name = ANY($2::text[])) END, \
 CASE WHEN pg_backend_pid() = $1 THEN set_config('advisory_lock_native.session', '', false) END";
