// Names in the database that are those of PostgreSQL's own (the kind of CVE-2018-1058): whoever may create something in a schema
// of the search path lets nobody in and runs nothing with the rights of those who lock.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { commandsOf } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlUnlock, until, untilSeen } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'

const server = await startServer()
after(() => server.stop())
const statements = ['sql.rs', 'sql/deadlock.rs', 'sql/fence.rs', 'sql/pooled.rs']
/** Every word of the statements: what is in the catalogue by such a name is shadowed. */
const words = new Set(statements.flatMap((file) => readFileSync(new URL(`../src/pg/${file}`, import.meta.url), 'utf8').match(/\w+/g)))

/** Functions, operators, types and views by names that the statements use. Each notes in a sequence that it was used, and fails. */
const SHADOWS = `
CREATE SEQUENCE evil.used;
CREATE FUNCTION evil.note(what text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN PERFORM nextval('evil.used'); RAISE EXCEPTION 'shadowed: %', what; END $$;
DO $$
DECLARE
  words text[] := string_to_array('WORDS', ',');
  symbols text[] := '{=,<>,~~,||,<<,|,&,*,+,-,->>,<,>,<=,>=}';
  pseudo oid[] := ARRAY(SELECT oid FROM pg_type WHERE typtype = 'p' AND typname NOT IN ('anyelement', 'anyarray', 'anynonarray', 'anycompatible', 'anycompatiblearray', 'anycompatiblenonarray'));
  body text := 'AS $x$BEGIN PERFORM evil.note(%L); END$x$';
  item record;
BEGIN
  FOR item IN SELECT DISTINCT ON (proname, proargtypes) oid, proname, proretset, prorettype::regtype AS result,
      array_to_string(ARRAY(SELECT format_type(argument, NULL) FROM unnest(proargtypes) AS argument), ', ') AS arguments
    FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (words) AND NOT proargtypes::oid[] && pseudo
  LOOP
    EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql ' || body, item.proname, item.arguments,
      CASE WHEN item.proretset THEN 'SETOF ' ELSE '' END || item.result, item.proname);
  END LOOP;
  FOR item IN SELECT oid, oprname, oprleft::regtype AS left, oprright::regtype AS right, oprresult::regtype AS result
    FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprname = ANY (symbols) AND oprleft <> 0
    AND NOT ARRAY[oprleft, oprright, oprresult] && pseudo AND NOT oprleft = ANY (SELECT oid FROM pg_type WHERE typtype = 'p')
  LOOP
    EXECUTE format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql ' || body, item.oid, item.left, item.right, item.result, item.oprname);
    EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator_%s)', item.oprname, item.left, item.right, item.oid);
  END LOOP;
  FOR item IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname = ANY (words)
  LOOP
    EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.%I CHECK (evil.note(%L))', item.typname, item.typname, item.typname);
  END LOOP;
  FOR item IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') AND relname = ANY (words)
  LOOP
    EXECUTE format('CREATE VIEW evil.%I AS SELECT * FROM pg_catalog.%I WHERE evil.note(%L)', item.relname, item.relname, item.relname);
  END LOOP;
END $$;
GRANT USAGE ON SCHEMA evil TO PUBLIC;`

/** What fits the statements better than PostgreSQL's own, which are for any type: for it a schema need not come first. */
const BETTER_FITS = `
CREATE FUNCTION evil.sure(boolean[], boolean) RETURNS boolean[] LANGUAGE sql AS 'SELECT $1 || (nextval(''evil.used'') > 0)';
CREATE AGGREGATE evil.array_agg(boolean) (SFUNC = evil.sure, STYPE = boolean[]);
CREATE FUNCTION evil.step(bigint, anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT nextval(''evil.used'')';
CREATE AGGREGATE evil.count(text) (SFUNC = evil.step, STYPE = bigint);
CREATE AGGREGATE evil.count(boolean) (SFUNC = evil.step, STYPE = bigint);
CREATE AGGREGATE evil.array_agg(bigint) (SFUNC = evil.step, STYPE = bigint);
CREATE FUNCTION evil.unnest(smallint[]) RETURNS SETOF smallint LANGUAGE sql AS 'SELECT 0::smallint WHERE evil.note(''unnest'')';
CREATE FUNCTION evil.unnest(integer[]) RETURNS SETOF integer LANGUAGE sql AS 'SELECT 0 WHERE evil.note(''unnest'')';
CREATE FUNCTION evil.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE sql AS 'SELECT 0::bigint WHERE evil.note(''unnest'')';
CREATE FUNCTION evil.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT '''' WHERE evil.note(''unnest'')';
CREATE FUNCTION evil.concat_ws(text, oid, oid, smallint) RETURNS text LANGUAGE sql AS 'SELECT evil.note(''concat_ws'')::text';
CREATE FUNCTION evil.to_jsonb(pg_locks) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(evil.note(''to_jsonb''))';
CREATE FUNCTION evil.arrow(jsonb, jsonb) RETURNS text LANGUAGE sql AS 'SELECT evil.note(''->>'')::text';
CREATE OPERATOR evil.->> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = evil.arrow);
CREATE FUNCTION evil.times(numeric, integer) RETURNS numeric LANGUAGE sql AS 'SELECT nextval(''evil.used'')::numeric';
CREATE OPERATOR evil.* (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = evil.times);
CREATE FUNCTION evil.times(double precision, integer) RETURNS double precision LANGUAGE sql AS 'SELECT nextval(''evil.used'')::float8';
CREATE OPERATOR evil.* (LEFTARG = double precision, RIGHTARG = integer, FUNCTION = evil.times);`

/** A database in which `public` is anybody's, as it is before PostgreSQL 15. */
async function openEvil(schema) {
  const database = await openDatabase(server)
  await database.sql.query(`CREATE SCHEMA IF NOT EXISTS ${schema}; GRANT ALL ON SCHEMA ${schema} TO PUBLIC`)
  const shadows = schema === 'public' ? SHADOWS.slice(0, SHADOWS.indexOf('DO $$')) : SHADOWS.replace('WORDS', [...words].join())
  await database.sql.query((shadows + BETTER_FITS).replaceAll('evil.', `${schema}.`).replaceAll('SCHEMA evil', `SCHEMA ${schema}`))
  return database
}

const isUsed = (database, schema) => database.value(`SELECT is_called FROM ${schema}.used`)

/** Has every statement sent, and every answer judged. */
async function exercise(database, connectionString) {
  const { sql } = database
  const [a, b] = ['a', 'b'].map((applicationName) => advisoryLock(connectionString, { applicationName }))
  const taken = ['taken 1', 'taken 2', 'taken 3', [1, 2]]
  for (const name of taken) await sqlLock(sql, name)
  assert.deepEqual(await Promise.all(taken.map((name) => a(name).tryLock())), taken.map(() => false))
  assert.equal(await a('taken 1').tryLock(), false)
  assert.equal(await a('taken 1').tryLockShared(), false)

  const names = ['one', 'two', 'three', 5n, -6n]
  const unlocks = await Promise.all(names.map((name) => a(name).lock()))
  assert.deepEqual(await Promise.all(names.map((name) => b(name).tryLock())), names.map(() => false))
  assert.deepEqual(await Promise.all(unlocks.map((unlock) => unlock())), names.map(() => true))

  // A wait of more than one turn, whose end is looked up.
  const waiting = a('taken 1').lock()
  await database.waiter('taken 1')
  await new Promise((resolve) => setTimeout(resolve, 1500))
  // Between two turns of the wait there is but the holder.
  const holders = await untilSeen(a('taken 1').holders, (uses) => uses.length === 2, 'holder and waiter')
  assert.deepEqual(holders.map(({ granted, mode }) => [granted, mode]), [[true, 'exclusive'], [false, 'exclusive']])
  for (const name of taken) await sqlUnlock(sql, name)
  assert.equal(await (await waiting)(), true)

  // An upgrade beside another reader.
  const reading = await Promise.all([a, b].map((createMutex) => createMutex('both').lockShared()))
  const upgrade = a('both').lock()
  assert.equal(await reading[1](), true)
  assert.equal(await (await upgrade)(), true)
  assert.equal(await reading[0](), true)

  await exerciseFences(database, connectionString, a, b)
  await exerciseOthers(a, b)

  const held = await Promise.all([a('x').lock(), b('y').lock()])
  const cycle = await Promise.allSettled([a('y').lock({ timeout: 20_000 }), b('x').lock({ timeout: 20_000 })].map((wait, index) => wait.finally(() => held[index]())))
  assert.deepEqual(cycle.map(({ status, reason }) => reason?.code ?? status).sort(), ['40P01', 'fulfilled'])
  for (const { value } of cycle) if (value) assert.equal(await value(), true)
  await Promise.all([a.close(), b.close()])
}

/** Fences are sent in a session of somebody else's, whose search path is what it is. */
async function exerciseFences(database, connectionString, a, b) {
  const limits = { fencing: true, timeout: 20_000 }
  const unlock = await a('fenced').lock(limits)
  assert.ok((await unlock.verify()) instanceof Date)
  const writer = await database.client(connectionString)
  await writer.query('BEGIN')
  await writer.query(unlock.fence)
  const next = b('fenced').lock(limits)
  assert.equal(await unlock(), true)
  await until(async () => (await b('fenced').holders()).some(({ applicationName }) => applicationName === 'b'), 'the next one waits for the writer')
  await writer.query('COMMIT')
  const unlockNext = await next
  assert.ok(unlockNext.token > unlock.token)
  await writer.query('BEGIN')
  await assert.rejects(writer.query(unlock.fence), { code: '55000' })
  await writer.query('ROLLBACK')
  assert.equal(await unlockNext(), true)
  const shared = await Promise.all([a, b].map((createMutex) => createMutex('fenced').lockShared(limits)))
  assert.deepEqual(await Promise.all(shared.map((unlockShared) => unlockShared())), [true, true])
}

/** Several keys, permits, elections. */
async function exerciseOthers(a, b) {
  const unlockAll = await a.all(['all 1', 'all 2']).lock()
  assert.equal(await b('all 2').tryLock(), false)
  assert.equal(await unlockAll(), true)
  const permits = await Promise.all([a, b].map((createMutex) => createMutex.semaphore('permits', 2).lock()))
  assert.equal(await b.semaphore('permits', 2).tryLock(), false)
  assert.equal((await a.semaphore('permits', 2).holders()).length, 2)
  assert.deepEqual(await Promise.all(permits.map((unlock) => unlock())), [true, true])
  const election = a('leader').elect(async (term) => {
    await term.verify()
    void election.stop()
  })
  await election.ended
}

/** The statements that are sent where a hold is a transaction. */
async function exercisePooled(database, connectionString) {
  const [a, b] = ['a', 'b'].map((applicationName) => advisoryLock(connectionString, { applicationName, transactionPooling: true }))
  const names = ['pooled 1', 'pooled 2', 7n]
  for (const name of names.slice(0, 2)) await sqlLock(database.sql, name)
  assert.deepEqual(await Promise.all(names.slice(0, 2).map((name) => a(name).tryLock())), [false, false])
  const waiting = Promise.all(names.map((name) => a(name).withLock(() => name)))
  for (const name of names.slice(0, 2)) await sqlUnlock(database.sql, name)
  assert.deepEqual(await waiting, names)
  for (const name of names) {
    const unlock = await a(name).lockShared()
    assert.equal(await b(name).tryLock(), false)
    assert.equal(await b(name).tryLockShared(), true)
    assert.equal(await b(name).unlockShared(), true)
    assert.ok((await unlock.verify()) instanceof Date)
    assert.equal((await a(name).holders()).length, 1)
    const upgraded = await a(name).lock()
    assert.equal(await upgraded(), true)
    assert.equal(await unlock(), true)
  }
  await Promise.all([a.close(), b.close()])
}

test('everything by a name of PostgreSQL comes first in the search path', async (t) => {
  const database = await openEvil('evil')
  const name = await database.value('SELECT current_database()')
  const path = 'evil, pg_catalog'
  const { hostname, port } = new URL(database.connectionString)
  await database.sql.query(`CREATE ROLE ann LOGIN PASSWORD 'secret'; ALTER ROLE ann SET search_path = ${path}`)
  const byOptions = new URL(database.connectionString)
  byOptions.searchParams.set('options', `-c search_path=${path.replace(' ', '')}`)
  await t.test('by the options of the connection string', () => exercise(database, byOptions.href))
  await t.test('by its role', () => exercise(database, `postgres://ann:secret@${hostname}:${port}/${name}`))
  await database.sql.query(`ALTER DATABASE ${name} SET search_path = ${path}`)
  await t.test('by its database', () => exercise(database, database.connectionString))
  const pooler = await startPgBouncer(database.connectionString, 'session')
  after(pooler.stop)
  await t.test('behind a pooler', () => exercise(database, pooler.connectionString))
  const shared = await startPgBouncer(database.connectionString, 'transaction', { default_pool_size: 2 })
  after(shared.stop)
  const createMutex = advisoryLock(shared.connectionString)
  await assert.rejects(createMutex('refused').lock(), { code: 'ERR_TRANSACTION_POOLING' })
  await createMutex.close()
  await t.test('through a pooler that lends sessions for a transaction', () => exercisePooled(database, shared.connectionString))
  const overview = await commandsOf(database.connectionString).run('pglocks', ['--json'])
  assert.deepEqual([overview.status, overview.stderr], [0, ''])
  assert.equal(await isUsed(database, 'evil'), false)
})

test('what fits better than PostgreSQL’s own lies in a schema that is anybody’s', async () => {
  const database = await openEvil('public')
  await exercise(database, database.connectionString)
  assert.equal(await isUsed(database, 'public'), false)
})

test('temporary relations by the names of PostgreSQL’s own, in a backend that a pooler hands on', async () => {
  const database = await openDatabase(server)
  const pooler = await startPgBouncer(database.connectionString, 'session', { default_pool_size: 3, server_reset_query: '' })
  after(pooler.stop)
  const clients = await Promise.all([1, 2, 3].map(() => database.client(pooler.connectionString)))
  const relations = 'CREATE TEMP TABLE pg_locks (LIKE pg_catalog.pg_locks); CREATE DOMAIN pg_temp.int4 AS text; CREATE TEMP TABLE pg_database (oid oid)'
  await Promise.all(clients.map((client) => client.query(`SELECT pg_sleep(0.2); ${relations}`)))
  await Promise.all(clients.map((client) => client.end()))
  const [a, b] = ['a', 'b'].map((applicationName) => advisoryLock(pooler.connectionString, { applicationName, maxWaitConnections: 0 }))
  const unlock = await a('temporary').lock()
  assert.equal((await a('temporary').holders()).length, 1)
  assert.equal(await b('temporary').tryLock(), false)
  assert.equal(await unlock(), true)
  await Promise.all([a.close(), b.close()])
})
