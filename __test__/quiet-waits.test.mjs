// A wait that goes on leaves no trace at the server: no line in its log, no rolled-back transaction.

import assert from 'node:assert/strict'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'

const server = await startServer({ logging_collector: 'on', log_lock_waits: 'on' })
after(() => server.stop())
const database = await openDatabase(server)

async function log() {
  const folder = join(server.socketDirectory, 'data/log')
  const files = (await readdir(folder)).filter((name) => name.endsWith('.log'))
  return (await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')))).join('')
}

/** Rolled-back transactions of this database, those of sessions that are still there included. */
async function rollbacks() {
  const { rows } = await database.sql.query(
    'SELECT xact_rollback::int AS count FROM pg_stat_database WHERE datname = current_database()',
  )
  return rows[0].count
}

/** How many turns a wait has begun so far: each begins with a time of its own. */
async function turns(name, count) {
  const seen = new Set()
  await until(async () => {
    const { rows } = await database.sql.query("SELECT waitstart::text FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    for (const { waitstart } of rows) if (waitstart) seen.add(waitstart)
    return seen.size >= count
  }, `${count} turns of the wait for ${name}`)
}

for (const [what, prepare] of [
  ['a wait', () => {}],
  // The statistics of a session come with its idle moments; the next database has its own.
  ['a cancelled wait', (controller) => controller.abort()],
]) {
  test(`${what} leaves neither a line in the log nor a rollback`, async () => {
    await sqlLock(database.sql, 'quiet')
    const before = { log: (await log()).length, rollbacks: await rollbacks() }
    const createMutex = advisoryLock(database.connectionString)
    const controller = new AbortController()
    const waiting = createMutex('quiet').lock({ signal: controller.signal })
    const outcome = waiting.then((unlock) => unlock(), (error) => error.name)
    await turns('quiet', 4)
    prepare(controller)
    await sqlUnlock(database.sql, 'quiet')
    assert.equal(await outcome, controller.signal.aborted ? 'AbortError' : true)
    await createMutex.close()
    // A session reports what it has done before it ends.
    await until(async () => (await database.connectionCount()) === 0, 'no session left')
    const lines = (await log()).slice(before.log).split('\n').filter((line) => /lock|cancel|ERROR|STATEMENT/.test(line))
    // A turn is over before the server would write that it goes on; a server that gets no processor ends one of them too late.
    const late = lines.filter((line) => /still waiting|DETAIL|STATEMENT/.test(line))
    assert.deepEqual(lines.filter((line) => !late.includes(line)), [])
    assert.ok(late.filter((line) => /still waiting/.test(line)).length <= 1, late.join('\n'))
    assert.equal(await rollbacks(), before.rollbacks)
  })
}

test('a role that may not see locks is refused to see them once, not for as long as it waits', async () => {
  const role = `unseeing_${database.connectionString.slice(-6)}`
  const [others, behind] = [await database.client(), await database.client()]
  await database.sql.query(`CREATE ROLE ${role} LOGIN PASSWORD 'unseeing'; REVOKE SELECT ON pg_catalog.pg_locks FROM PUBLIC`)
  const url = new URL(database.connectionString)
  Object.assign(url, { username: role, password: 'unseeing' })
  const createMutex = advisoryLock(url.href)
  try {
    await sqlLock(others, 'seen by nobody')
    const before = (await log()).length
    const held = await createMutex('held meanwhile').lock()
    const waiting = createMutex('seen by nobody').lock()
    // It may be a deadlock: somebody waits for what is held here.
    const waitsBehind = sqlLock(behind, 'held meanwhile')
    await turns('seen by nobody', 6)
    await sqlUnlock(others, 'seen by nobody')
    assert.equal(await (await waiting)(), true)
    assert.equal(await held(), true)
    await waitsBehind
    const refused = (await log()).slice(before).match(/permission denied for view pg_locks/g) ?? []
    assert.equal(refused.length, 1)
  } finally {
    await createMutex.close()
    await Promise.all([others.end(), behind.end()])
    await until(async () => (await database.connectionCount()) === 0, 'no session left')
    await database.sql.query(`GRANT SELECT ON pg_catalog.pg_locks TO PUBLIC; DROP ROLE ${role}`)
  }
})

test('without PL/pgSQL, or the right to it, waits go on all the same', async () => {
  await database.sql.query('DROP EXTENSION plpgsql')
  try {
    await sqlLock(database.sql, 'plain')
    const createMutex = advisoryLock(database.connectionString)
    const waiting = createMutex('plain').lock()
    await turns('plain', 3)
    await sqlUnlock(database.sql, 'plain')
    await (await waiting)()
    await createMutex.close()
  } finally {
    await database.sql.query('CREATE EXTENSION plpgsql')
  }
})

test('a role that may not read pg_locks waits, also where the turn ends in the moment of the grant', async () => {
  await database.sql.query(`CREATE ROLE blind LOGIN PASSWORD 'blind'; REVOKE SELECT ON pg_locks FROM PUBLIC`)
  const url = new URL(database.connectionString)
  url.username = 'blind'
  url.password = 'blind'
  const createMutex = advisoryLock(url.href)
  const mutex = createMutex('blind')
  await sqlLock(database.sql, 'blind')
  const waiting = mutex.lock()
  await turns('blind', 3)
  await sqlUnlock(database.sql, 'blind')
  await (await waiting)()
  await createMutex.close()
  await database.sql.query('GRANT SELECT ON pg_locks TO PUBLIC; DROP ROLE blind')
})
