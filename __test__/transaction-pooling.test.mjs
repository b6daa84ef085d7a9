// Through a real PgBouncer that lends server connections for one transaction: everything works that can, and what cannot is said.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import advisoryLock2 from '../v2.js'
import { commandsOf } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until, untilSeen } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startPooler } from './support/pooler.mjs'

const database = await openDatabase()
const pooler = async (settings, mode = 'transaction') => {
  const started = await startPgBouncer(database.connectionString, mode, settings)
  after(started.stop)
  return started
}
const { connectionString } = await pooler({ default_pool_size: 20 })
const owner = (options, string = connectionString) => advisoryLock(string, { transactionPooling: true, ...options })
const nothingIsLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing is locked', 5000)

test('each method does what it does anywhere', async () => {
  const [a, b] = [owner(), owner({ applicationName: 'b' })]
  const unlock = await a('methods').lock()
  assert.equal(await b('methods').tryLock(), false)
  assert.equal(await b('methods').tryLockShared(), false)
  assert.ok((await unlock.verify()) instanceof Date)
  const [holder, ...others] = await b('methods').holders()
  assert.deepEqual({ ...holder, pid: 0, clientAddress: 0, connectedSince: 0 }, {
    pid: 0, applicationName: 'advisory-lock-native', clientAddress: 0, mode: 'exclusive', granted: true, waitingSince: null,
    connectedSince: 0, preparedTransaction: null,
  })
  assert.deepEqual(others, [])
  await assert.rejects(b('methods').lock({ timeout: 1000 }), (error) => {
    assert.equal(error.code, 'ERR_LOCK_TIMEOUT')
    assert.equal(error.cause, undefined, 'the server has said that the lock is taken')
    return true
  })
  const stopping = new AbortController()
  const stopped = assert.rejects(b('methods').lock({ signal: stopping.signal }), { name: 'AbortError' })
  stopping.abort()
  await stopped
  const waiting = b('methods').withLock(() => 'waited')
  assert.equal(await unlock(), true)
  assert.equal(await waiting, 'waited')
  assert.equal(await unlock(), true, 'the same promise as before')
  assert.equal(await a('methods').unlock(), false)
  assert.deepEqual(await b('methods').tryWithLock(() => 1), { acquired: true, value: 1 })
  await Promise.all([a.close(), b.close()])
  await nothingIsLeft()
})

test('shared locks, upgrades, and holds that stack', async () => {
  const [a, b] = [owner(), owner({ applicationName: 'b' })]
  assert.equal(await a('shared').tryLockShared(), true)
  assert.equal(await b('shared').tryLockShared(), true)
  assert.equal(await a('shared').tryLock(), false)
  const upgrade = a('shared').lock({ timeout: 5000 })
  assert.equal(await b('shared').unlockShared(), true)
  const exclusive = await upgrade
  assert.equal(await b('shared').tryLockShared(), false)
  assert.equal(await exclusive(), true)
  assert.equal(await b('shared').tryLockShared(), false, 'a transaction holds to its end what it holds')
  assert.equal(await a('shared').unlockShared(), true)
  assert.equal(await b('shared').tryLockShared(), true)
  for (let hold = 0; hold < 3; hold++) assert.equal(await a('stacked').tryLock(), true)
  for (let hold = 0; hold < 3; hold++) assert.equal(await a('stacked').unlock(), true)
  assert.equal(await a('stacked').unlock(), false)
  await Promise.all([a.close(), b.close()])
  await nothingIsLeft()
})

test('single keys, several keys, elections, and the other contract', async () => {
  const [a, b] = [owner(), owner({ applicationName: 'b' })]
  assert.equal(await a(-(2n ** 40n)).tryLock(), true)
  assert.equal(await b(-(2n ** 40n)).tryLock(), false)
  const both = await a.all(['x', 'y']).lock()
  assert.equal(await b.all(['y', 'z']).tryLock(), false)
  assert.equal(await both(), true)
  const election = b('leader').elect((term) => new Promise((resolve) => term.signal.addEventListener('abort', resolve)))
  const term = await new Promise((resolve) => election.once('elected', resolve))
  assert.ok((await term.verify()) instanceof Date)
  assert.equal(await a('leader').tryLock(), false)
  await election.stop()
  await a.close()

  const createMutex = advisoryLock2(`${connectionString}?pgbouncer=true`)
  const unlock = await createMutex('second').lock()
  assert.equal(await createMutex('second').tryLock(), undefined)
  const next = createMutex('second').lock()
  await unlock()
  await (await next)()
  await Promise.all([b.close(), createMutex.close()])
  await nothingIsLeft()
})

test('who is connected directly excludes who is not, and the other way round', async () => {
  const pooled = owner()
  const direct = advisoryLock(database.connectionString)
  await sqlLock(database.sql, 'mixed')
  assert.equal(await pooled('mixed').tryLock(), false)
  const waiting = pooled('mixed').lock()
  assert.equal(await sqlUnlock(database.sql, 'mixed').then(({ rows }) => rows[0].pg_advisory_unlock), true)
  const unlock = await waiting
  assert.equal(await sqlTry(database.sql, 'mixed'), false)
  assert.equal(await direct('mixed').tryLock(), false)
  const next = direct('mixed').lock()
  await database.waiter('mixed')
  assert.equal(await unlock(), true)
  assert.equal(await (await next)(), true)
  await Promise.all([pooled.close(), direct.close()])
  await nothingIsLeft()
})

test('the commands go by the string alone', async () => {
  const { run } = commandsOf(`${connectionString}?pgbouncer=true`)
  const held = owner()
  const unlock = await held('command').lock()
  const denied = await run('withlock', ['command', '--try', '--conflict-exit-code', '75', '--', process.execPath, '-e', '0'])
  assert.equal(denied.status, 75)
  await unlock()
  const { status, stdout } = await run('withlock', ['command', '--', process.execPath, '-e', 'console.log(1)'])
  assert.deepEqual({ status, stdout }, { status: 0, stdout: '1\n' })
  await held.close()
  await nothingIsLeft()
})

test('nothing of ours is left in a server connection: no lock, no setting, no statement', async () => {
  const { connectionString: single } = await pooler({ default_pool_size: 1 })
  const createMutex = owner({}, single)
  for (let round = 0; round < 3; round++) assert.equal(await createMutex('left').withLock(() => round), round)
  assert.equal(await createMutex('left').tryLockShared(), true)
  assert.equal(await createMutex('left').unlockShared(), true)
  await createMutex('left').holders()
  const [client, direct] = await Promise.all([database.client(single), database.client()])
  const settings = `SELECT name, setting FROM pg_settings WHERE name NOT IN ('application_name', 'client_encoding')
    AND name NOT LIKE 'advisory_lock_native.%' ORDER BY name`
  const [found, expected] = await Promise.all([client.query(settings), direct.query(settings)])
  assert.deepEqual(found.rows, expected.rows)
  const left = await client.query(`SELECT (SELECT count(*) FROM pg_prepared_statements WHERE name <> '')::int AS statements,
    coalesce(current_setting('advisory_lock_native.session', true), '') AS fingerprint,
    (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')::int AS locks`)
  assert.deepEqual(left.rows, [{ statements: 0, fingerprint: '', locks: 0 }])
  await Promise.all([client.end(), direct.end(), createMutex.close()])
})

test('a hold harms nobody: no snapshot, no transaction id, no relation; VACUUM and CREATE INDEX CONCURRENTLY finish', async () => {
  await database.sql.query('CREATE TABLE stats AS SELECT generate_series(1, 1000) AS id')
  const [holder, waiter] = [owner({ heartbeat: 200 }), owner({ applicationName: 'waiter' })]
  const unlock = await holder('harmless').lock()
  const waiting = waiter('harmless').lock()
  const shown = async () => {
    const { rows } = await database.sql.query(
      `SELECT a.state, a.backend_xmin::text, a.backend_xid::text, array_agg(DISTINCT l.locktype ORDER BY l.locktype) AS locks
       FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE a.datname = current_database()
       AND a.application_name = 'advisory-lock-native' AND a.state <> 'idle' GROUP BY a.pid, 1, 2, 3`,
    )
    return rows
  }
  const harmless = [{ state: 'idle in transaction', backend_xmin: null, backend_xid: null, locks: ['advisory', 'virtualxid'] }]
  // Active it is for the moment of a heartbeat.
  const isHarmless = async () => {
    const seen = await untilSeen(shown, (sessions) => sessions.every(({ state }) => state !== 'active'), 'it is idle')
    assert.deepEqual(seen, harmless)
  }
  await isHarmless()
  await unlock.verify()
  // The heartbeat, too.
  const begin = Date.now()
  await until(() => Date.now() - begin > 500, 'two heartbeats')
  await isHarmless()
  await database.sql.query('CREATE INDEX CONCURRENTLY ON stats (id)')
  await database.sql.query('DELETE FROM stats')
  await database.sql.query('VACUUM stats')
  assert.equal(await database.value(`SELECT count(*)::int FROM pg_class WHERE relname = 'stats' AND relpages = 0`), 1, 'dead rows are gone')
  assert.equal(await unlock(), true)
  assert.equal(await (await waiting)(), true)
  await Promise.all([holder.close(), waiter.close()])
})

test('what does not go together, or is not meant so, is refused', async () => {
  const options = (value) => () => advisoryLock(connectionString, value)
  const wrong = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }
  assert.throws(options({ transactionPooling: true, maxWaitConnections: 1 }), { ...wrong, message: /maxWaitConnections/ })
  assert.throws(options({ transactionPooling: false, maxPinnedConnections: 1 }), { ...wrong, message: /maxPinnedConnections/ })
  for (const value of ['true', 1, null]) assert.throws(options({ transactionPooling: value }), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' })
  for (const value of [0, 1.5, 1001]) assert.throws(options({ maxPinnedConnections: value }), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' })
  const misspelt = advisoryLock(`${connectionString}?pgbouncer=ture`)
  await assert.rejects(misspelt('x').lock(), { code: 'ERR_INVALID_CONNECTION_STRING', message: /pgbouncer/ })
  const few = owner({ maxPinnedConnections: 2 })
  assert.throws(() => few.all(['a', 'b', 'c']), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE', message: /maxPinnedConnections/ })
  assert.throws(() => few.semaphore('permits', 2), { ...wrong, message: /transactionPooling/ })
  // The option wins.
  const direct = advisoryLock(`${connectionString}?pgbouncer=true`, { transactionPooling: false })
  await assert.rejects(direct('x').lock(), { code: 'ERR_TRANSACTION_POOLING', message: /transactionPooling.*pgbouncer=true.*-pooler.*5432/ })
  await direct.close()
})

test('statement pooling is refused, whether the pooler says so or not', async () => {
  const { connectionString: honest } = await pooler({}, 'statement')
  const silent = await startPooler(database.connectionString, { mode: 'statement', size: 3, rotates: true })
  for (const string of [honest, silent.connectionString]) {
    const createMutex = owner({}, string)
    for (const method of ['lock', 'tryLock', 'lockShared']) {
      await assert.rejects(createMutex('statements')[method](), { code: 'ERR_TRANSACTION_POOLING', message: /each statement/ }, method)
    }
    await createMutex.close()
  }
  await nothingIsLeft()
})

test('without a pooler, and through one that keeps sessions, it works as well', async () => {
  const { connectionString: session } = await pooler({}, 'session')
  for (const string of [database.connectionString, session]) {
    const [a, b] = [owner({}, string), owner({ applicationName: 'b' }, string)]
    const unlock = await a('anywhere').lock()
    assert.equal(await b('anywhere').tryLock(), false)
    const next = b('anywhere').lock()
    await unlock()
    await (await next)()
    await Promise.all([a.close(), b.close()])
  }
  await nothingIsLeft()
})
