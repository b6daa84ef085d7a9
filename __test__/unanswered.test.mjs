// A wait that ends by its time says whether the lock is taken, or whether no server has told.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startListener } from './support/listener.mjs'
import { startProxy } from './support/proxy.mjs'

const require = createRequire(import.meta.url)
const entries = { 'main entry': require('../index.js'), v2: require('../v2.js') }
const database = await openDatabase()
const limits = { timeout: 300 }

/** The ways to wait for the lock of a name. */
const waits = (createMutex, name) => ({
  lock: createMutex(name).lock(limits),
  lockShared: createMutex(name).lockShared(limits),
  withLock: createMutex(name).withLock(() => assert.fail('held'), limits),
  withLockShared: createMutex(name).withLockShared(() => assert.fail('held'), limits),
  all: createMutex.all([name, `${name} too`]).lock(limits),
  semaphore: createMutex.semaphore(name, 2).lock(limits),
})

async function eachEnds(calls, check) {
  const end = ([way, call]) =>
    assert.rejects(call, (error) => {
      assert.deepEqual([way, error.code], [way, 'ERR_LOCK_TIMEOUT'])
      check(error, way)
      return true
    })
  await Promise.all(Object.entries(calls).map(end))
}

function saysUnanswered(port) {
  return ({ message, cause }, way) => {
    assert.deepEqual([way, message], [way, 'the server has not answered within 300 ms'])
    assert.deepEqual([cause.code, cause.address, cause.port], ['ETIMEDOUT', '127.0.0.1', port])
  }
}

function saysTaken({ message, cause }, way) {
  assert.deepEqual([way, message, cause], [way, 'the lock was not granted within 300 ms', undefined])
}

for (const [entry, advisoryLock] of Object.entries(entries)) {
  test(`${entry}: a server that does not answer a connection`, async () => {
    const { port } = await startListener(() => {})
    const createMutex = advisoryLock(`postgres://user:hush@127.0.0.1:${port}/x`)
    await eachEnds(waits(createMutex, 'x'), saysUnanswered(port))
    await createMutex.close()
  })

  test(`${entry}: a server that does not answer on a session`, async () => {
    const proxy = await startProxy(database.connectionString)
    const createMutex = advisoryLock(proxy.connectionString)
    await createMutex('free').withLock()
    proxy.silence()
    await eachEnds(waits(createMutex, 'free'), saysUnanswered(Number(new URL(proxy.connectionString).port)))
    proxy.close()
    await createMutex.close()
  })

  test(`${entry}: a lock that is taken`, async () => {
    const createMutex = advisoryLock(database.connectionString)
    // Connecting is no part of what is tested.
    await createMutex('free').withLock()
    await sqlLock(database.sql, 'taken')
    const holder = advisoryLock(database.connectionString)
    const permits = [await holder.semaphore('taken', 2).lock(), await holder.semaphore('taken', 2).lock()]
    await eachEnds(waits(createMutex, 'taken'), saysTaken)
    for (const giveUp of permits) await giveUp()
    await holder.close()
    await sqlUnlock(database.sql, 'taken')
    await createMutex.close()
  })

  test(`${entry}: a lock that is taken in this process`, async () => {
    const createMutex = advisoryLock(database.connectionString)
    const holder = advisoryLock(database.connectionString)
    const unlock = await holder('taken here').lock()
    await eachEnds({ lock: createMutex('taken here').lock(limits), withLock: createMutex('taken here').withLock(undefined, limits) }, saysTaken)
    await unlock()
    await createMutex.close()
    await holder.close()
  })

  test(`${entry}: a lock that was taken when the network fell silent`, async () => {
    const proxy = await startProxy(database.connectionString)
    const createMutex = advisoryLock(proxy.connectionString)
    await sqlLock(database.sql, 'silent')
    const waiting = createMutex('silent').lock({ timeout: 1500 })
    await database.waiter('silent')
    proxy.silence()
    await assert.rejects(waiting, ({ code, cause }) => code === 'ERR_LOCK_TIMEOUT' && cause === undefined)
    proxy.close()
    await sqlUnlock(database.sql, 'silent')
    await createMutex.close()
    await until(async () => (await database.locks('silent')).length === 0, 'nobody waits')
  })

  test(`${entry}: a signal, a limit of no time and a server that refuses end a wait as before`, async () => {
    const { port } = await startListener(() => {})
    const createMutex = advisoryLock(`postgres://127.0.0.1:${port}/x`, { connectTimeout: 300 })
    const reason = new Error('enough')
    await assert.rejects(createMutex('x').lock({ signal: AbortSignal.abort(reason), timeout: 1 }), (error) => error === reason)
    const abort = new AbortController()
    const waiting = createMutex('x').lock({ signal: abort.signal, timeout: 60_000 })
    abort.abort(reason)
    await assert.rejects(waiting, (error) => error === reason)
    await assert.rejects(createMutex('x').lock({ timeout: 0 }), { code: 'ETIMEDOUT' })
    await createMutex.close()
    const refused = advisoryLock('postgres://127.0.0.1:1/x')
    await assert.rejects(refused('x').lock({ timeout: 60_000 }), { code: 'ECONNREFUSED' })
    await refused.close()
  })
}
