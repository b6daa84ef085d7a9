// createMutex.client: events and the end.

import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'

const database = await openDatabase()
const closed = { name: 'AdvisoryLockError', code: 'ERR_CLIENT_CLOSED' }

test('it is an EventEmitter whose end() tells when all is closed', async () => {
  const { client } = advisoryLock(database.connectionString)
  assert.ok(client instanceof EventEmitter)
  const ended = once(client, 'end')
  assert.equal(await client.end(), undefined)
  await ended
  await client.end()
  await new Promise((resolve) => client.end(resolve))
})

test('a listener that throws is an uncaught exception, as of any emitter, and keeps nobody else from being told', async (t) => {
  const uncaught = []
  const note = (error, origin) => uncaught.push([error.message, origin])
  const runners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException').on('uncaughtException', note)
  t.after(() => {
    process.off('uncaughtException', note)
    for (const listener of runners) process.on('uncaughtException', listener)
  })
  const createMutex = advisoryLock(database.connectionString, { applicationName: 'throws' })
  createMutex.client.on('error', ({ code }) => {
    throw new Error(code)
  })
  const unlocks = [await createMutex('one').lock(), await createMutex('two').lock()]
  await database.sql.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'throws'`)
  await until(() => uncaught.length === 2, 'each is thrown')
  assert.deepEqual(uncaught, Array(2).fill(['ERR_LOCK_LOST', 'uncaughtException']))
  assert.ok(unlocks.every(({ signal }) => signal.aborted))
  await createMutex.close()
})

test('end() gives up every hold of this owner and of no other', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const other = advisoryLock(database.connectionString)
  const unlock = await createMutex('exclusive').lock()
  await createMutex('exclusive').lock()
  await createMutex('shared').lockShared()
  await other('other').lock()
  await createMutex.client.end()
  assert.equal(await sqlTry(database.sql, 'exclusive'), true)
  assert.equal(await sqlTry(database.sql, 'shared'), true)
  assert.equal(await sqlTry(database.sql, 'other'), false)
  assert.equal(await unlock(), false)
  assert.equal(await other('other').unlock(), true)
  await other.close()
})

test('what end() takes does not depend on how many holds others have', async () => {
  const crowd = advisoryLock(database.connectionString)
  const rounds = 101
  /** For how many milliseconds `end()` keeps the thread, of owners with a hold each: the tenth part that others disturb least. */
  const time = async (what) => {
    const owners = Array.from({ length: rounds }, () => advisoryLock(database.connectionString))
    await Promise.all(owners.map((createMutex, index) => createMutex(`${what} ${index}`).lock()))
    const ends = []
    const times = owners.map(({ client }) => {
      const since = performance.now()
      ends.push(client.end())
      return performance.now() - since
    })
    await Promise.all(ends)
    return times.sort((a, b) => a - b)[(rounds - 1) / 10]
  }
  await time('warm')
  const alone = await time('alone')
  await Promise.all(Array.from({ length: 20_000 }, (_, index) => crowd(`crowd ${index}`).lock()))
  const among = await time('among')
  // To look at all of them takes fifty times as long.
  assert.ok(among < 10 * alone, `${among} ms among 20,000 holds, ${alone} ms alone`)
  await crowd.client.end()
})

test('end() ends the waits of this owner, wherever they wait', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const other = advisoryLock(database.connectionString)
  await sqlLock(database.sql, 'elsewhere')
  await other('here').lock()
  const waits = [createMutex('elsewhere').lock(), createMutex('here').lock(), createMutex('here').withLock(assert.fail)]
  const results = Promise.all(waits.map((wait) => assert.rejects(wait, closed)))
  await database.waiter('elsewhere')
  await createMutex.client.end()
  await results
  await database.noWaiter('elsewhere')
  await sqlUnlock(database.sql, 'elsewhere')
  assert.equal(await sqlTry(database.sql, 'elsewhere'), true)
  await other.close()
})

test('after end() every call rejects', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const mutex = createMutex('late')
  await createMutex.client.end()
  for (const method of ['lock', 'unlock', 'tryLock', 'withLock', 'lockShared', 'unlockShared', 'tryLockShared', 'withLockShared']) {
    await assert.rejects(mutex[method](), closed, method)
  }
})

test('end() before anything was connected, and while connecting', async () => {
  await advisoryLock(database.connectionString).client.end()
  const createMutex = advisoryLock(database.connectionString)
  const wait = assert.rejects(createMutex('connecting').lock(), closed)
  await createMutex.client.end()
  await wait
  await until(async () => (await database.connectionCount()) === 0, 'no connection')
})

test('25 owners, used and ended, leave no connection', async () => {
  for (let index = 0; index < 25; index++) {
    const createMutex = advisoryLock(database.connectionString)
    await createMutex('25').withLock(() => {})
    await createMutex.client.end()
    assert.equal(await database.connectionCount(), 0)
  }
  const together = Array.from({ length: 25 }, () => advisoryLock(database.connectionString))
  await Promise.all(together.map((createMutex) => createMutex('25').withLock()))
  assert.notEqual(await database.connectionCount(), 0)
  await Promise.all(together.map((createMutex) => createMutex.client.end()))
  assert.equal(await database.connectionCount(), 0)
})

test('owners with equal settings share their connections', async () => {
  const owners = Array.from({ length: 10 }, () => advisoryLock(database.connectionString))
  await Promise.all(owners.map((createMutex, index) => createMutex(`connection ${index}`).lock()))
  assert.equal(await database.connectionCount(), 1)
  await Promise.all(owners.map((createMutex) => createMutex.close()))
})

test('the settings are those of the options', async () => {
  const createMutex = advisoryLock(database.connectionString, { applicationName: 'my clock', idleTimeout: 50 })
  await createMutex('named').withLock()
  const named = () =>
    database.value('SELECT count(*)::int FROM pg_stat_activity WHERE application_name = $1', ['my clock'])
  assert.equal(await named(), 1)
  await until(async () => (await named()) === 0, 'the idle connection closed')
  assert.equal(await createMutex('named').tryLock(), true, 'the next call connects again')
  await createMutex.close()
})
