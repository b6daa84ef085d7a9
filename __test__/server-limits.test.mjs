// A server that has no room: for more locks, for more connections; or whose role has time limits meant for queries.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import advisoryLock, { strToKey } from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'

const server = await startServer({ max_locks_per_transaction: 10, max_connections: 10, superuser_reserved_connections: 1 })
after(() => server.stop())
const database = await openDatabase(server)
const isOutOfMemory = (error) => {
  assert.equal(error.name, 'AdvisoryLockError')
  assert.equal(error.code, '53200')
  assert.equal(error.severity, 'ERROR')
  assert.match(error.hint, /max_locks_per_transaction/)
}

// Asks of nothing but `pg_locks`: a full lock table has no room for a look at any table that databases share.
const lockCount = async () => Number(await database.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
const modesOf = (name) =>
  database.value(
    'SELECT array_agg(mode ORDER BY mode) FROM pg_locks WHERE classid = $1::int8 & 4294967295 AND objid = $2::int8 & 4294967295',
    strToKey(name),
  )

test('more locks than fit: those that fit are granted, the others fail, and nothing is held for nobody', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const ask = async (count) => {
    const answers = await Promise.allSettled(Array.from({ length: count }, (_, index) => createMutex(`many ${index}`).lock()))
    const granted = answers.filter(({ status }) => status === 'fulfilled').map(({ value }) => value)
    const failed = answers.filter(({ status }) => status === 'rejected').map(({ reason }) => reason)
    failed.forEach(isOutOfMemory)
    return { granted, failed }
  }
  const first = await ask(10_000)
  assert.ok(first.granted.length > 50 && first.failed.length > 50, `${first.granted.length} fit`)
  assert.equal(await createMutex.client.end(), undefined)
  assert.equal(await lockCount(), 0)

  const another = advisoryLock(database.connectionString)
  const holds = []
  for (let index = 0; ; index++) {
    const hold = await another(`one by one ${index}`)
      .lock()
      .catch((error) => error)
    if (hold instanceof Error) {
      isOutOfMemory(hold)
      break
    }
    holds.push(hold)
  }
  assert.equal(await lockCount(), holds.length, 'the server holds what the callers hold')
  assert.equal(await holds[0](), true)
  assert.equal(await another('afterwards').withLock(() => 'works'), 'works', 'a release makes room')
  for (const release of holds.slice(1)) assert.equal(await release(), true)
  assert.equal(await lockCount(), 0)
  await another.close()
})

test('a failed batch keeps what was granted in it, and gives nothing else away', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const names = Array.from({ length: 4000 }, (_, index) => `batch ${index}`)
  const answers = await Promise.allSettled(names.map((name) => createMutex(name).tryLock()))
  const granted = names.filter((_, index) => answers[index].value === true)
  answers.filter(({ status }) => status === 'rejected').forEach(({ reason }) => isOutOfMemory(reason))
  assert.equal(await lockCount(), granted.length)
  // Every one of them is truly there: a plain client cannot have it.
  for (const name of granted) assert.deepEqual(await modesOf(name), ['ExclusiveLock'])
  assert.deepEqual(new Set(await Promise.all(granted.map((name) => createMutex(name).unlock()))), new Set([true]))
  assert.equal(await lockCount(), 0)
  await createMutex.close()
})

/** Has a plain client take locks until there is no room for another one. */
async function fillLockTable() {
  const client = await database.client()
  for (let key = 0n; ; key++) {
    try {
      await client.query('SELECT pg_advisory_lock($1)', [key])
    } catch (error) {
      assert.equal(error.code, '53200')
      return client
    }
  }
}

test('a batch that fails for one lock fails no other, and leaves neither mode of a lock behind', async (t) => {
  const [first, second] = [advisoryLock(database.connectionString), advisoryLock(database.connectionString)]
  const holds = [await first('both').lockShared(), await first('both').lock()]
  const known = await first('known').lock()
  const waits = [second('both').lock(), second('known').lock()]
  await sleep(30)
  const filler = await fillLockTable()
  t.after(() => filler.end())
  // The first one of a turn goes out by itself, what comes after it together.
  const tried = [first('no room 1').tryLock(), first('no room 2').tryLock()]
  const given = [...holds, known].map((unlock) => unlock())
  for (const one of tried) await assert.rejects(one, (error) => (isOutOfMemory(error), true))
  assert.deepEqual(await Promise.all(given), [true, true, true])
  const unlocks = await Promise.all(waits)
  assert.deepEqual(await modesOf('both'), ['ExclusiveLock'])
  for (const unlock of unlocks) assert.equal(await unlock(), true)
  assert.equal(await modesOf('both'), null)
  await Promise.all([first.close(), second.close()])
})

/** Connects until the server refuses, and leaves room for `spare` more. */
async function crowd(spare) {
  const clients = []
  for (;;) {
    const client = new pg.Client({ connectionString: roleString, application_name: 'plain client' })
    client.on('error', () => {})
    try {
      await client.connect()
    } catch (error) {
      assert.equal(error.code, '53300')
      break
    }
    clients.push(client)
  }
  for (const client of clients.splice(0, spare)) await client.end()
  return clients
}

// A role without the superuser's reserved connections.
await database.sql.query(`CREATE ROLE tenant LOGIN PASSWORD 'tenant'`)
const roleUrl = new URL(database.connectionString)
roleUrl.username = 'tenant'
roleUrl.password = 'tenant'
const roleString = roleUrl.href

test('no room for another connection: waits are served by the one there is', async () => {
  const createMutex = advisoryLock(roleString)
  const unlock = await createMutex('main').lock()
  const clients = await crowd(0)
  const names = ['crowded 1', 'crowded 2', 'crowded 3']
  for (const name of names) await sqlLock(database.sql, name)
  const waits = names.map((name) => createMutex(name).lock())
  const limited = createMutex(names[0]).lock({ timeout: 300 })
  await assert.rejects(limited, { code: 'ERR_LOCK_TIMEOUT' })
  for (const [index, name] of names.entries()) {
    await sqlUnlock(database.sql, name)
    assert.equal(await (await waits[index])(), true)
  }
  // With room again, a wait gets a connection and a place in the server's queue.
  for (const client of clients) await client.end()
  await sqlLock(database.sql, 'roomy')
  const wait = createMutex('roomy').lock()
  await until(async () => (await database.locks('roomy')).some(({ granted }) => !granted), 'a place in the queue')
  await sqlUnlock(database.sql, 'roomy')
  await (
    await wait
  )()
  await unlock()
  await createMutex.close()
})

test('no room for any connection: the caller hears of it, and the next call works', async () => {
  const clients = await crowd(0)
  const createMutex = advisoryLock(roleString)
  const answers = await Promise.allSettled([createMutex('none').lock(), createMutex('none').tryLock(), createMutex('other').withLock()])
  for (const { reason } of answers) {
    assert.equal(reason.code, '53300')
    assert.equal(reason.severity, 'FATAL')
  }
  await clients.pop().end()
  await until(async () => (await createMutex('none').tryLock().catch(() => false)) === true, 'the server has let go of it')
  await createMutex.close()
  for (const client of clients) await client.end()
})

test('time limits of the role break neither a wait nor a hold', async () => {
  await database.sql.query(`CREATE ROLE hasty LOGIN PASSWORD 'hasty'`)
  const limits = ['statement_timeout', 'lock_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout']
  for (const limit of limits) await database.sql.query(`ALTER ROLE hasty SET ${limit} = '200ms'`)
  const url = new URL(database.connectionString)
  url.username = 'hasty'
  url.password = 'hasty'
  // They are in force for a plain client.
  const plain = new pg.Client(url.href)
  plain.on('error', () => {})
  await plain.connect()
  await assert.rejects(plain.query('SELECT pg_sleep(1)'), { code: '57014' })
  await plain.end()

  const createMutex = advisoryLock(url.href, { idleTimeout: 5000, heartbeat: 60_000 })
  const unlock = await createMutex('hold').lock()
  await sqlLock(database.sql, 'wait')
  const wait = createMutex('wait').lock()
  await database.waiter('wait')
  // Well beyond every limit, and beyond a turn of the wait.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  assert.equal(unlock.signal.aborted, false)
  await sqlUnlock(database.sql, 'wait')
  assert.equal(await (await wait)(), true)
  assert.equal(await unlock(), true)
  await createMutex.close()
})
