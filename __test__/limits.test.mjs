// Time limits and cancellation of waits.

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'

const database = await openDatabase()
const createMutex = advisoryLock(database.connectionString)
const timeout = { name: 'AdvisoryLockError', code: 'ERR_LOCK_TIMEOUT' }
const methods = ['lock', 'lockShared']
const scoped = ['withLock', 'withLockShared']

test('a wait ends with its time', async () => {
  await sqlLock(database.sql, 'time')
  const mutex = createMutex('time')
  for (const method of methods) await assert.rejects(mutex[method]({ timeout: 30 }), timeout)
  for (const method of scoped) await assert.rejects(mutex[method](assert.fail, { timeout: 30 }), timeout)
  await database.noWaiter('time')
  await sqlUnlock(database.sql, 'time')
  await until(() => sqlTry(database.sql, 'time'), 'nobody keeps it who got it late')
})

test('so does a wait for another owner in this process', async () => {
  const unlock = await advisoryLock(database.connectionString)('local').lock()
  await assert.rejects(createMutex('local').lock({ timeout: 20 }), timeout)
  await unlock()
  assert.equal(await sqlTry(database.sql, 'local'), true)
})

test('no time at all: only if it is free at once', async () => {
  const mutex = createMutex('at once')
  for (const method of methods) await (await mutex[method]({ timeout: 0 }))()
  for (const method of scoped) assert.equal(await mutex[method](() => 5, { timeout: 0 }), 5)
  await sqlLock(database.sql, 'at once')
  for (const method of methods) await assert.rejects(mutex[method]({ timeout: 0 }), timeout)
  await sqlUnlock(database.sql, 'at once')
})

test('a time that is over before the request has left', async () => {
  const unlock = await advisoryLock(database.connectionString)('instant').lock()
  await assert.rejects(createMutex('instant').lock({ timeout: Number.MIN_VALUE }), timeout)
  await unlock()
  await sqlLock(database.sql, 'instant')
  await assert.rejects(createMutex('instant').lock({ timeout: 1e-6 }), timeout)
  await sqlUnlock(database.sql, 'instant')
})

test('a long or endless time is no time limit that fires early', async () => {
  await sqlLock(database.sql, 'long')
  const waits = [Infinity, 2 ** 31, 1e12].map((limit) => createMutex('long').lock({ timeout: limit }))
  await database.waiter('long')
  await sqlUnlock(database.sql, 'long')
  for (const unlock of await Promise.all(waits)) await unlock()
})

test('an aborted signal rejects with its reason', async () => {
  const reason = new Error('changed my mind')
  const mutex = createMutex('aborted')
  for (const method of methods) {
    await assert.rejects(mutex[method]({ signal: AbortSignal.abort(reason) }), (error) => error === reason)
  }
  for (const method of scoped) {
    await assert.rejects(mutex[method](assert.fail, { signal: AbortSignal.abort(reason) }), (error) => error === reason)
  }
  assert.equal(await database.lockCount(), 0)
})

test('an abort ends a wait, and the waiter leaves the queue of the server', async () => {
  await sqlLock(database.sql, 'abort')
  for (const method of methods) {
    const controller = new AbortController()
    const wait = createMutex('abort')[method]({ signal: controller.signal })
    await database.waiter('abort')
    const reason = { any: 'value' }
    controller.abort(reason)
    await assert.rejects(wait, (error) => error === reason)
    await database.noWaiter('abort')
  }
  await sqlUnlock(database.sql, 'abort')
  assert.equal(await sqlTry(database.sql, 'abort'), true)
})

test('an abort after the grant changes nothing, and no listener is left', async () => {
  const { signal, abort } = ((controller) => ({ signal: controller.signal, abort: () => controller.abort() }))(
    new AbortController(),
  )
  const unlock = await createMutex('after').lock({ signal, timeout: 1000 })
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  abort()
  assert.equal(unlock.signal.aborted, false)
  assert.equal(await sqlTry(database.sql, 'after'), false)
  await unlock()
})

test('a cancelled waiter makes way for the next', async () => {
  const unlock = await advisoryLock(database.connectionString)('next').lock()
  const controller = new AbortController()
  const first = createMutex('next').lock({ signal: controller.signal })
  const second = advisoryLock(database.connectionString)('next').lock()
  controller.abort()
  await assert.rejects(first, { name: 'AbortError' })
  await unlock()
  await (
    await second
  )()
})

test('cancels in the moment of the grant lose nothing and leak nothing', async () => {
  const blocker = await database.client()
  let granted = 0
  for (let round = 0; round < 100; round++) {
    await sqlLock(blocker, 'moment')
    const controller = new AbortController()
    const wait = createMutex('moment').lock({ signal: controller.signal })
    await database.waiter('moment')
    const free = sqlUnlock(blocker, 'moment')
    // At another point of the grant's way each time.
    for (let step = 0; step < round % 20; step++) await new Promise(setImmediate)
    controller.abort()
    await wait.then(
      (unlock) => {
        granted++
        return unlock()
      },
      (error) => assert.equal(error.name, 'AbortError'),
    )
    await free
    await until(async () => (await database.lockCount()) === 0, 'no lock and no waiter is left')
  }
  assert.ok(granted < 100, 'some cancels came in time')
})
