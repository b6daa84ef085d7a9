// Settings of a role or a database that are meant for queries, and would harm a session that holds locks; and rights that a role
// lacks: who needs them is refused, and nobody else loses anything.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'

const server = await startServer()
after(() => server.stop())
const database = await openDatabase(server)
const { hostname, port, pathname } = new URL(database.connectionString)

/** A role with these settings: how it connects. */
async function role(name, settings) {
  await database.sql.query(`CREATE ROLE ${name} LOGIN PASSWORD 'secret'`)
  for (const [setting, value] of Object.entries(settings)) await database.sql.query(`ALTER ROLE ${name} SET ${setting} = '${value}'`)
  return `postgres://${name}:secret@${hostname}:${port}${pathname}`
}

/** Locks, waits for longer than one turn, upgrades, holds: nothing of it fails, and nothing is lost. */
async function exercise(connectionString, options) {
  const createMutex = advisoryLock(connectionString, options)
  const other = advisoryLock(connectionString, { ...options, applicationName: 'other' })
  const unlock = await createMutex('held').lock()
  await sqlLock(database.sql, 'taken')
  const waiting = createMutex('taken').lock()
  await database.waiter('taken')
  await sleep(2500)
  const beside = await other('both').lockShared()
  const reading = await createMutex('both').lockShared()
  const upgrade = createMutex('both').lock()
  await sleep(100)
  assert.equal(await beside(), true)
  assert.equal(await (await upgrade)(), true)
  assert.equal(await reading(), true)
  await sqlUnlock(database.sql, 'taken')
  assert.equal(await (await waiting)(), true)
  assert.equal((await createMutex('held').holders()).length, 1)
  assert.equal(unlock.signal.aborted, false)
  assert.equal(await unlock(), true)
  await Promise.all([createMutex.close(), other.close()])
}

for (const [name, settings] of Object.entries({
  transactions_end: { transaction_timeout: '1s' },
  statements_end: { statement_timeout: '500ms', lock_timeout: '100ms' },
  idle_sessions_end: { idle_session_timeout: '300ms', idle_in_transaction_session_timeout: '200ms' },
  errors_end: { exit_on_error: 'on' },
  everything_is_read: { default_transaction_read_only: 'on' },
})) {
  test(`${JSON.stringify(settings)}`, async () => exercise(await role(name, settings)))
}

test('transactions that wait for those of others: beside an open one nobody waits', async (t) => {
  const serial = { default_transaction_isolation: 'serializable', default_transaction_read_only: 'on', default_transaction_deferrable: 'on' }
  const connectionString = await role('serial', serial)
  const open = await database.client()
  t.after(() => open.end())
  await open.query('CREATE TABLE written (x int)')
  await open.query('BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO written VALUES (1)')
  await exercise(connectionString, { heartbeat: 100, answerTimeout: 1000 })
  const byOptions = new URL(database.connectionString)
  byOptions.searchParams.set('options', Object.entries(serial).map(([name, value]) => `-c ${name}=${value}`).join(' '))
  await exercise(byOptions.href, { heartbeat: 100, answerTimeout: 1000 })
})

test('the greatest heartbeat and time for an answer that there are', async () => {
  for (const heartbeat of [32_760_000, 2 ** 31 - 1]) {
    for (const answerTimeout of [100, 600_000]) {
      const createMutex = advisoryLock(database.connectionString, { heartbeat, answerTimeout })
      // In a tenth of a second a server under load may not answer, which is not what this is about.
      const late = ({ code, cause }) => (answerTimeout === 100 && (cause ?? { code }).code === 'ETIMEDOUT' ? 'works' : code)
      assert.equal(await createMutex('greatest').withLock(() => 'works').catch(late), 'works')
      await createMutex.close()
    }
  }
  const log = await readFile(join(server.socketDirectory, 'log'), 'utf8')
  assert.doesNotMatch(log, /setsockopt|out of range|22023/)
})

/** A role without settings, while it lacks these rights, and an owner that holds `held` as that role. */
async function withoutRights(rights, work) {
  const url = new URL(await role('unprivileged', {}))
  await database.sql.query(rights.map((right) => `REVOKE ${right} FROM PUBLIC`).join('; '))
  // Two owners with the same sessions, and one with others, as another process has them.
  const [createMutex, twin, other] = ['here', 'here', 'there'].map((applicationName) => advisoryLock(url.href, { applicationName }))
  try {
    const unlock = await createMutex('held').lock()
    await work(createMutex, other, twin)
    // Whoever has been lost by then would be told now.
    assert.ok((await unlock.verify()) instanceof Date)
    assert.equal(unlock.signal.aborted, false)
    assert.equal(await unlock(), true)
    await until(async () => (await database.lockCount()) === 0, 'nothing is left locked')
  } finally {
    await Promise.all([createMutex, twin, other].map((owner) => owner.close()))
    await database.sql.query(`${rights.map((right) => `GRANT ${right} TO PUBLIC`).join('; ')}; DROP ROLE unprivileged`)
  }
}

const execute = (name) => ['int, int', 'bigint'].map((types) => `EXECUTE ON FUNCTION pg_catalog.${name}(${types})`)

const ways = {
  lockShared: (createMutex) => createMutex('x').lockShared({ timeout: 5000 }),
  semaphore: (createMutex) => createMutex.semaphore('s', 2).lock({ timeout: 5000 }),
  trySemaphore: async (createMutex) => {
    const semaphore = createMutex.semaphore('s', 2)
    return (await semaphore.tryLock()) && (() => semaphore.unlock())
  },
  fenced: (createMutex) => createMutex('f').lock({ fencing: true, timeout: 5000 }),
  fencedShared: (createMutex) => createMutex('f').lockShared({ fencing: true, timeout: 5000 }),
  all: (createMutex) => createMutex.all(['1', '2', '3']).lock({ timeout: 5000 }),
  single: (createMutex) => createMutex(77n).lock({ timeout: 5000 }),
  // Shared is what it would be at last: it may stay exclusive until then.
  downgraded: async (createMutex) => {
    const unlock = await createMutex('x').lock()
    const reading = await createMutex('x').lockShared()
    await unlock()
    return reading
  },
  // Longer than for as long as owners may hand it on among themselves.
  handedOn: async (createMutex, other, twin) => {
    const use = async (owner) => {
      for (let turn = 0; turn < 20; turn++) await owner('x').withLock(() => sleep(3))
    }
    await Promise.all([use(createMutex), use(twin)])
    return createMutex('x').lock()
  },
}

for (const [name, denied] of Object.entries({
  pg_try_advisory_lock_shared: ['lockShared', 'semaphore', 'trySemaphore', 'fencedShared'],
  pg_advisory_lock_shared: [],
  pg_advisory_unlock_shared: ['lockShared', 'semaphore', 'trySemaphore', 'fencedShared'],
})) {
  for (const [way, take] of Object.entries(ways)) {
    test(`without the right to ${name}: ${way}`, () =>
      withoutRights(execute(name), async (...owners) => {
        const taken = take(...owners)
        if (denied.includes(way)) await assert.rejects(taken, { code: '42501' })
        else assert.equal(await (await taken)(), true)
      }))
  }
}

test('what could not be given up is not taken', () =>
  withoutRights(execute('pg_advisory_unlock_shared'), async (createMutex, other) => {
    await assert.rejects(createMutex('x').tryLockShared(), { code: '42501' })
    await assert.rejects(createMutex(5n).lockShared(), { code: '42501' })
    await database.sql.query(`REVOKE ${execute('pg_advisory_unlock').join(' FROM PUBLIC; REVOKE ')} FROM PUBLIC`)
    try {
      await assert.rejects(other('x').lock(), { code: '42501' })
      await assert.rejects(other('x').lock({ fencing: true }), { code: '42501' })
      await assert.rejects(createMutex(5n).tryLock(), { code: '42501' })
      assert.equal(await database.lockCount(), 1)
    } finally {
      await database.sql.query(`GRANT ${execute('pg_advisory_unlock').join(' TO PUBLIC; GRANT ')} TO PUBLIC`)
    }
  }))

for (const name of ['pg_try_advisory_lock_shared', 'pg_advisory_unlock_shared']) {
  test(`without the right to ${name}: a deadlock with another process is not found, and costs nothing else`, () =>
    withoutRights(execute(name), async (createMutex, other) => {
      const held = await Promise.all([createMutex('dx').lock(), other('dy').lock()])
      const waits = await Promise.allSettled([createMutex('dy').lock({ timeout: 2500 }), other('dx').lock({ timeout: 2500 })])
      assert.deepEqual(waits.map(({ reason }) => reason?.code), ['ERR_LOCK_TIMEOUT', 'ERR_LOCK_TIMEOUT'])
      assert.deepEqual(await Promise.all(held.map((unlock) => unlock())), [true, true])
    }))
}

test('a role that may not read pg_locks waits for an upgrade as well', () =>
  withoutRights(['SELECT ON pg_catalog.pg_locks', 'SELECT ON pg_catalog.pg_database'], async (createMutex, other) => {
    const beside = await other('both').lockShared()
    const reading = await createMutex('both').lockShared()
    const refused = createMutex('both').lock({ timeout: 700 })
    await assert.rejects(refused, { code: 'ERR_LOCK_TIMEOUT' })
    // Others wait already, behind whom a try would fail for ever.
    const behind = await database.client()
    const waiting = behind.query('SELECT pg_advisory_lock($1, $2)', advisoryLock.strToKey('both'))
    const upgrade = createMutex('both').lock()
    await until(() => database.value(`SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = $1 AND NOT granted`, [behind.processID]), 'it waits')
    await sleep(300)
    assert.equal(await beside(), true)
    assert.equal(await (await upgrade)(), true)
    assert.equal(await reading(), true)
    await waiting
    await behind.end()
  }))
