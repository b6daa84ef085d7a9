//! Statements by which the processes that use a database find deadlocks with each other.

/// Which of the locks `$1` of this process some session waits for, be it in the server's queue or by a published link; and the
/// time in milliseconds, of which 32 bits count. A lock is spelled as the columns of `pg_locks` have it, `x` for exclusive
/// or `s` for shared: `classid.objid.objsubid.x`.
pub(in crate::pg) const WANTED: &str = "\
WITH locks AS (\
 SELECT pg_catalog.concat_ws('.', classid, objid, objsubid) AS key, \
 mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AS exclusive, granted, objid, objsubid \
 FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
 AND database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
 WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())\
), wanted AS (\
 SELECT key OPERATOR(pg_catalog.||) '.x' AS lock FROM locks WHERE NOT granted \
 UNION SELECT key OPERATOR(pg_catalog.||) '.s' FROM locks WHERE NOT granted AND exclusive\
) SELECT pg_catalog.current_setting('advisory_lock_native.session', true), \
 (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8 \
 OPERATOR(pg_catalog.&) 4294967295, \
 pg_catalog.array_agg(place) FILTER (WHERE own.lock OPERATOR(pg_catalog.=) ANY (SELECT lock FROM wanted) \
 OR pg_catalog.hashtext(own.lock OPERATOR(pg_catalog.||) '0') OPERATOR(pg_catalog.=) ANY \
 (SELECT objid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 FROM locks \
 WHERE granted AND NOT exclusive AND objsubid OPERATOR(pg_catalog.=) 1)) \
 FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS own(lock, place)";

/// Publishes or (`$4` false) withdraws links: "who holds `$1` waits for `$2`, since `$3`". A link is a shared lock on a single key made
/// of two hashes; a second one holds its hash and the time. Twice, of different hashes, to rule out chance. In a backend
/// with the fingerprint `$5` only.
///
/// No key is null. That it is asked has the server look for both rights before anything is published: what could not be withdrawn
/// would stay where it is not true any more.
pub(in crate::pg) const PUBLISH_LINKS: &str = "\
SELECT pg_catalog.current_setting('advisory_lock_native.session', true), pg_catalog.count(CASE WHEN $4::pg_catalog.bool AND key IS NOT NULL \
 THEN pg_catalog.pg_try_advisory_lock_shared(key) ELSE pg_catalog.pg_advisory_unlock_shared(key) END) FROM (\
 SELECT (pg_catalog.hashtext(held OPERATOR(pg_catalog.||) look)::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
 OPERATOR(pg_catalog.|) \
 (pg_catalog.hashtext(awaited OPERATOR(pg_catalog.||) look)::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295) AS link, since \
 FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]), \
 pg_catalog.unnest($3::pg_catalog.int8[])) AS links(held, awaited, since) \
 CROSS JOIN (VALUES ('0'), ('1')) AS looks(look)\
) AS links CROSS JOIN LATERAL (VALUES (link), ((pg_catalog.hashint8(link)::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
 OPERATOR(pg_catalog.|) since)) AS keys(key) \
 WHERE pg_catalog.current_setting('advisory_lock_native.session', true) OPERATOR(pg_catalog.=) $5::pg_catalog.text";

/// Which of the links `$1`, `$2` of this session are the youngest of a deadlock, by the hashes of look `$3`. A way leads from
/// a lock to one that its holder waits for; who waits exclusively waits for holders of both modes.
/// No two steps of one session follow each other: its own lock is not in the way of its wait.
///
/// Steps are the published links, and the plain sessions that hold and wait themselves. Of those only waits that last count
/// (a session of ours may wait for some milliseconds with the locks of many owners); `waitstart` is younger than some servers,
/// where such sessions are not seen. The rank of a step is the age of its wait, then its process; a plain session, which cannot be
/// refused, counts as the oldest.
pub(in crate::pg) const DEADLOCKS: &str = "\
WITH RECURSIVE locks AS (\
 SELECT pid, granted, mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AS exclusive, objsubid, \
 classid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 AS high, \
 objid::pg_catalog.int8::pg_catalog.bit(32)::pg_catalog.int4 AS low, \
 pg_catalog.concat_ws('.', classid, objid, objsubid) AS key, \
 pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) \
 (pg_catalog.to_jsonb(l) OPERATOR(pg_catalog.->>) 'waitstart')::pg_catalog.timestamptz AS age \
 FROM pg_catalog.pg_locks l WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
 AND database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
 WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())\
), shared_keys AS (\
 SELECT pid, high, low, (high::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
 OPERATOR(pg_catalog.|) (low::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295) AS key FROM locks \
 WHERE granted AND NOT exclusive AND objsubid OPERATOR(pg_catalog.=) 1\
), steps(held, awaited, pid, age) AS (\
 SELECT link.high, link.low, link.pid, \
 ((pg_catalog.date_part('epoch', pg_catalog.statement_timestamp()) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8 \
 OPERATOR(pg_catalog.-) time.low) OPERATOR(pg_catalog.&) 4294967295 \
 FROM shared_keys link JOIN shared_keys time ON time.pid OPERATOR(pg_catalog.=) link.pid \
 AND time.high OPERATOR(pg_catalog.=) pg_catalog.hashint8(link.key) \
 UNION ALL \
 SELECT pg_catalog.hashtext(g.key OPERATOR(pg_catalog.||) CASE WHEN g.exclusive THEN '.x' ELSE '.s' END \
 OPERATOR(pg_catalog.||) $3), \
 pg_catalog.hashtext(w.key OPERATOR(pg_catalog.||) modes.mode OPERATOR(pg_catalog.||) $3), w.pid, 4294967295 \
 FROM locks w JOIN locks g ON g.pid OPERATOR(pg_catalog.=) w.pid CROSS JOIN (VALUES ('.x'), ('.s')) AS modes(mode) \
 WHERE g.granted AND NOT w.granted AND w.key OPERATOR(pg_catalog.<>) g.key \
 AND (w.exclusive OR modes.mode OPERATOR(pg_catalog.=) '.x') \
 AND w.age OPERATOR(pg_catalog.>) '500 ms'::pg_catalog.interval\
), links AS (\
 SELECT held, awaited, pid, (LEAST(age, 2147483647) OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) pid AS rank \
 FROM steps\
), own AS (\
 SELECT DISTINCT place, links.held, links.awaited, rank FROM links JOIN (\
 SELECT place, pg_catalog.hashtext(held OPERATOR(pg_catalog.||) $3) AS held, \
 pg_catalog.hashtext(awaited OPERATOR(pg_catalog.||) $3) AS awaited \
 FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) \
 WITH ORDINALITY AS given(held, awaited, place)\
 ) AS given ON given.held OPERATOR(pg_catalog.=) links.held AND given.awaited OPERATOR(pg_catalog.=) links.awaited \
 WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()\
), way(place, node, pid, rank) AS (\
 SELECT place, awaited, pg_catalog.pg_backend_pid(), 9223372036854775807 FROM own \
 UNION \
 SELECT way.place, links.awaited, links.pid, LEAST(way.rank, links.rank) FROM way \
 JOIN links ON links.held OPERATOR(pg_catalog.=) way.node AND links.pid OPERATOR(pg_catalog.<>) way.pid\
) SELECT pg_catalog.current_setting('advisory_lock_native.session', true), pg_catalog.array_agg(DISTINCT own.place) FROM own \
 JOIN way ON way.place OPERATOR(pg_catalog.=) own.place \
 WHERE way.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() \
 AND way.node OPERATOR(pg_catalog.=) own.held AND own.rank OPERATOR(pg_catalog.<=) way.rank";
