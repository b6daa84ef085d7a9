// A wait has a connection of its own where that can be had, and never depends on it: until it is open, where it cannot be opened, and
// where it is lost, the lock is tried on the connection that is there.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
let names = 0
const newName = () => `waited for ${names++}`

/** The process ids of the package's sessions. */
async function sessions() {
  const { rows } = await database.sql.query(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'advisory-lock-native'",
  )
  return rows.map(({ pid }) => pid)
}

/** Of the two sessions that there are: the one that does everything else, and the one that waits for this lock. */
async function mainAndWaiter(name) {
  let waiter
  await until(async () => (waiter = (await database.locks(name))[0]?.pid), 'it waits')
  const others = (await sessions()).filter((pid) => pid !== waiter)
  assert.equal(others.length, 1)
  return { main: others[0], waiter }
}

const terminate = (...pids) => database.sql.query('SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pids(pid)', [pids])

/** What becomes of a promise, without a rejection that nobody handles. */
function watch(promise) {
  const watched = { state: 'pending', outcome: promise.then((value) => ((watched.state = 'granted'), value)) }
  watched.outcome.catch(() => (watched.state = 'rejected'))
  return watched
}

/** What becomes of the connections after the first. */
const hindrances = {
  'stay without an answer': (near) => near.pause(),
  'are closed at once': (near) => near.destroy(),
}
for (const [what, hinder] of Object.entries(hindrances)) {
  test(`later connections ${what}: the wait goes on, and ends when the lock is free`, async () => {
    let connections = 0
    const proxy = await startProxy(database.connectionString, (near) => ++connections > 1 && hinder(near))
    const createMutex = advisoryLock(proxy.connectionString, { connectTimeout: 3000 })
    // A process that only waits would have its one connection for that.
    const unlock = await createMutex(newName()).lock()
    const name = newName()
    await sqlLock(database.sql, name)
    const waits = ['lock', 'lockShared'].map((method) => watch(createMutex(name)[method]()))
    // One attempt has failed, as the next one comes.
    await until(() => connections >= 3, 'two more connections have been tried', 30_000)
    assert.deepEqual(waits.map(({ state }) => state), ['pending', 'pending'])
    await sqlUnlock(database.sql, name)
    for (const { outcome } of waits) assert.equal(await (await outcome)(), true)
    assert.deepEqual(await database.locks(name), [])
    assert.equal(await unlock(), true)
    await createMutex.close()
    proxy.close()
  })
}

test('a second connection that has not answered yet holds up nobody', async () => {
  let unanswered
  const proxy = await startProxy(database.connectionString, (near) => (unanswered === undefined ? (unanswered = null) : (unanswered = near).pause()))
  const createMutex = advisoryLock(proxy.connectionString, { connectTimeout: 60_000 })
  const [granted, givenUp] = [newName(), newName()]
  await sqlLock(database.sql, granted)
  await sqlLock(database.sql, givenUp)
  const abort = new AbortController()
  const wait = watch(createMutex(granted).lock())
  const aborted = assert.rejects(createMutex(givenUp).lock({ signal: abort.signal }), { name: 'AbortError' })
  await until(() => unanswered, 'another connection')
  await sqlUnlock(database.sql, granted)
  await until(() => wait.state === 'granted', 'the lock')
  abort.abort()
  await aborted
  await sqlUnlock(database.sql, givenUp)
  assert.equal(await createMutex(givenUp).withLock(() => 'free'), 'free', 'nothing was taken for who gave up')
  // Once it answers it is used.
  const next = newName()
  await sqlLock(database.sql, next)
  const queued = watch(createMutex(next).lock())
  unanswered.resume()
  await database.waiter(next)
  await sqlUnlock(database.sql, next)
  await (await queued.outcome)()
  await (await wait.outcome)()
  await createMutex.close()
  proxy.close()
})

test('a role that may have one connection waits on that', async () => {
  const role = `one_connection_${database.connectionString.slice(-6)}`
  await database.sql.query(`CREATE ROLE ${role} LOGIN PASSWORD 'one' CONNECTION LIMIT 1`)
  after(() => database.sql.query(`DROP ROLE ${role}`))
  const url = new URL(database.connectionString)
  Object.assign(url, { username: role, password: 'one' })
  const createMutex = advisoryLock(url.href)
  const taken = [newName(), newName(), newName()]
  for (const name of taken) await sqlLock(database.sql, name)
  const waits = taken.map((name) => watch(createMutex(name).lock()))
  assert.equal(await createMutex('free meanwhile').withLock(() => 1), 1)
  for (const [index, name] of taken.entries()) {
    await sqlUnlock(database.sql, name)
    assert.equal(await (await waits[index].outcome)(), true)
  }
  assert.equal(await database.connectionCount(), 1)
  await createMutex.close()
})

test('a wait whose connection is lost goes on by the other, and then by a new one', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const name = newName()
  await sqlLock(database.sql, name)
  const waits = [watch(createMutex(name).lock()), watch(createMutex(name).withLockShared(() => 'served'))]
  const seen = new Set()
  while (seen.size < 3) {
    const waiter = (await database.locks(name)).find(({ pid }) => !seen.has(pid))
    if (waiter === undefined) continue
    seen.add(waiter.pid)
    await terminate(waiter.pid)
  }
  assert.deepEqual(waits.map(({ state }) => state), ['pending', 'pending'])
  await sqlUnlock(database.sql, name)
  assert.equal(await (await waits[0].outcome)(), true)
  assert.equal(await waits[1].outcome, 'served')
  await createMutex.close()
})

test('a wait in the queue is not harmed by the loss of the connection for everything else, which comes again', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const [name, held] = [newName(), newName()]
  await sqlLock(database.sql, name)
  const unlock = await createMutex(held).lock()
  const wait = watch(createMutex(name).lock())
  const { main, waiter } = await mainAndWaiter(name)
  await terminate(main)
  await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' }, 'what it held is lost')
  assert.equal(await createMutex('free').withLock(() => 'works'), 'works', 'there is another one')
  await terminate(waiter)
  await sqlUnlock(database.sql, name)
  assert.equal(await (await wait.outcome)(), true)
  await createMutex.close()
})

test('a wait all of whose connections are lost at once rejects, and so do those behind it', async (t) => {
  const proxy = await startProxy(database.connectionString)
  t.after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString)
  const [name, held] = [newName(), newName()]
  await sqlLock(database.sql, name)
  const unlock = await createMutex(held).lock()
  const waits = [createMutex(name).lock(), createMutex(name).withLockShared(assert.fail)]
  const outcomes = Promise.all(waits.map((wait) => assert.rejects(wait, { code: '57P01', severity: 'FATAL' })))
  const { main, waiter } = await mainAndWaiter(name)
  // Or there might be a new one before the end of the second has been read.
  proxy.refuse()
  await terminate(main, waiter)
  await outcomes
  proxy.admit()
  await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
  await sqlUnlock(database.sql, name)
  // A server that refused is left alone for a moment.
  await until(() => createMutex(name).withLock(() => true).catch(({ code }) => assert.equal(code, 'ECONNREFUSED')), 'it is there again')
  await createMutex.close()
})

test('a process that only waits has one connection from the first, and goes on by one where that is lost', async () => {
  const opened = []
  const proxy = await startProxy(database.connectionString, (near) => opened.push(near))
  const createMutex = advisoryLock(proxy.connectionString)
  const name = newName()
  await sqlLock(database.sql, name)
  const waits = [watch(createMutex(name).lock()), watch(createMutex(name).withLockShared(() => 'served'))]
  for (let round = 1; round <= 3; round++) {
    await database.waiter(name)
    assert.equal(opened.length, round)
    assert.equal(await database.terminate(name), 1)
    await until(() => opened.length > round, 'another connection')
  }
  await database.waiter(name)
  // Whatever else there is to do has a connection of its own.
  assert.equal(await createMutex(newName()).withLock(() => 'free'), 'free')
  assert.equal(opened.length, 5)
  const others = [newName(), newName()]
  for (const other of others) await sqlLock(database.sql, other)
  const controller = new AbortController()
  const more = others.map((other) => assert.rejects(createMutex(other).lock({ signal: controller.signal }), { name: 'AbortError' }))
  for (const other of others) await database.waiter(other)
  assert.equal(opened.length, 7, 'of several waits each has one besides that for tries')
  controller.abort()
  await Promise.all(more)
  assert.deepEqual(waits.map(({ state }) => state), ['pending', 'pending'])
  await sqlUnlock(database.sql, name)
  assert.equal(await (await waits[0].outcome)(), true)
  assert.equal(await waits[1].outcome, 'served')
  await createMutex.close()
  proxy.close()
})

test('a wait that lasts keeps one connection; where that is lost it goes on by a new one', async () => {
  const idleTimeout = 100
  const createMutex = advisoryLock(database.connectionString, { idleTimeout })
  const name = newName()
  await sqlLock(database.sql, name)
  const wait = watch(createMutex(name).lock())
  const seen = new Set()
  for (let round = 0; round < 2; round++) {
    let waiter
    await until(async () => (waiter = (await database.locks(name)).find(({ pid }) => !seen.has(pid))?.pid), 'it waits')
    seen.add(waiter)
    await until(async () => (await sessions()).join() === `${waiter}`, 'the other one closes')
    // What must not happen has had time to.
    await sleep(10 * idleTimeout)
    assert.deepEqual(await sessions(), [waiter])
    await terminate(waiter)
  }
  assert.equal(wait.state, 'pending')
  await sqlUnlock(database.sql, name)
  await (await wait.outcome)()
  await until(async () => (await database.connectionCount()) === 0, 'idle connections close')
  await createMutex.close()
})

test('who comes when others have given a connection up while it was opened is given one', async () => {
  const name = newName()
  await sqlLock(database.sql, name)
  for (let round = 0; round < 20; round++) {
    const first = advisoryLock(database.connectionString, { applicationName: `given up ${round}` })
    const waits = assert.rejects(first(name).lock(), { code: 'ERR_CLIENT_CLOSED' })
    await database.waiter(name)
    // Asks for another connection.
    const other = first('free').lock().catch((error) => assert.equal(error.code, 'ERR_CLIENT_CLOSED'))
    const closed = first.close()
    const second = advisoryLock(database.connectionString, { applicationName: `given up ${round}` })
    assert.equal(await (await second('other').lock())(), true)
    await Promise.all([waits, other, closed, second.close()])
  }
  await sqlUnlock(database.sql, name)
})

test('an upgrade goes with the connection that holds', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const name = newName()
  const unlock = await createMutex(name).lockShared()
  await sqlLock(database.sql, name, '_shared')
  const upgrade = assert.rejects(createMutex(name).lock(), { code: '57P01' })
  await terminate(...(await sessions()))
  await upgrade
  await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
  await sqlUnlock(database.sql, name, '_shared')
  assert.equal(await createMutex(name).withLock(() => 1), 1)
  await createMutex.close()
})
