// Signals and timers that fail, answer at once or not at all: the call rejects, and nothing is locked by it later.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { runChild } from './support/process.mjs'

const database = await openDatabase()
const createMutex = advisoryLock(database.connectionString)
const holder = advisoryLock(database.connectionString)
const failure = new Error('on purpose')
const fail = () => {
  throw failure
}
const isFailure = (error) => error === failure

/** Whatever calls itself a signal: never aborted, and nobody is told, but for what is replaced. */
const signalWith = (parts) => ({ aborted: false, addEventListener() {}, removeEventListener() {}, ...parts })
const property = (name, get) => Object.defineProperty(signalWith({}), name, { get })
const setting = (globals, call) => {
  const before = Object.fromEntries(Object.keys(globals).map((name) => [name, globalThis[name]]))
  Object.assign(globalThis, globals)
  try {
    return call()
  } finally {
    Object.assign(globalThis, before)
  }
}

const calls = {
  lock: (mutex, limits) => mutex.lock(limits),
  lockShared: (mutex, limits) => mutex.lockShared(limits),
  withLock: (mutex, limits) => mutex.withLock(assert.fail, limits),
  withLockShared: (mutex, limits) => mutex.withLockShared(assert.fail, limits),
}

for (const [title, call] of [
  ['addEventListener throws', (lock) => lock({ signal: signalWith({ addEventListener: fail }) })],
  ['addEventListener is none', (lock) => lock({ signal: signalWith({ addEventListener: undefined }) })],
  ['the state cannot be read', (lock) => lock({ signal: property('aborted', fail) })],
  ['the listener is called at once', (lock) => lock({ signal: signalWith({ addEventListener: (_, tell) => tell(), reason: failure }) })],
  ['it is aborted and has no reason', (lock) => lock({ signal: signalWith({ aborted: true }) })],
  ['it is aborted and its reason cannot be read', (lock) => lock({ signal: Object.defineProperty(signalWith({ aborted: true }), 'reason', { get: fail }) })],
  ['setTimeout throws', (lock) => setting({ setTimeout: fail }, () => lock({ timeout: 1000 }))],
  ['setTimeout is none', (lock) => setting({ setTimeout: undefined }, () => lock({ timeout: 1000 }))],
  ['setTimeout calls at once', (lock) => setting({ setTimeout: (next) => next() }, () => lock({ timeout: 2 ** 40 }))],
  ['setTimeout throws with a signal', (lock) => setting({ setTimeout: fail }, () => lock({ timeout: 5, signal: new AbortController().signal }))],
]) {
  for (const state of ['free', 'held by another owner', 'held by another session']) {
    test(`${title}: ${state}`, async () => {
      for (const [method, ask] of Object.entries(calls)) {
        const name = `${title} ${state} ${method}`
        const unlock = state === 'held by another owner' ? await holder(name).lock() : undefined
        if (state === 'held by another session') await sqlLock(database.sql, name)
        await assert.rejects(call((limits) => ask(createMutex(name), limits)))
        if (state === 'held by another session') await sqlUnlock(database.sql, name)
        await unlock?.()
        // What was asked for would be granted by now, and be seen.
        await holder(name).withLock()
        assert.equal(await sqlTry(database.sql, name), true, method)
      }
    })
  }
}

test('what fails is the reason', async () => {
  const rejects = (limits) => assert.rejects(createMutex('reasons').lock(limits), isFailure)
  await rejects({ signal: signalWith({ addEventListener: fail }) })
  await rejects({ signal: signalWith({ addEventListener: (_, tell) => tell(), reason: failure }) })
  await assert.rejects(createMutex('reasons').lock({ signal: signalWith({ aborted: true }) }), { name: 'AbortError' })
})

test('a signal that cannot be left: the lock is granted all the same', async () => {
  const signal = signalWith({ removeEventListener: fail })
  const unlock = await createMutex('stuck').lock({ signal })
  await createMutex('stuck').withLock(() => {}, { signal, timeout: 1000 })
  await unlock()
  await sqlLock(database.sql, 'stuck')
  const waiting = createMutex('stuck').lock({ signal })
  await database.waiter('stuck')
  await sqlUnlock(database.sql, 'stuck')
  await (await waiting)()
  assert.equal(await sqlTry(database.sql, 'stuck'), true)
})

test('a signal that failed once may be used again', async () => {
  const controller = new AbortController()
  const { signal } = controller
  signal.addEventListener = fail
  await assert.rejects(createMutex('again').lock({ signal }), isFailure)
  delete signal.addEventListener
  await sqlLock(database.sql, 'again')
  const waiting = assert.rejects(createMutex('again').lock({ signal }), isFailure)
  await database.waiter('again')
  controller.abort(failure)
  await waiting
  await database.noWaiter('again')
  await sqlUnlock(database.sql, 'again')
  assert.equal(await sqlTry(database.sql, 'again'), true)
})

test('timers that clear nothing and run late: the lock stays with whom it was granted', async () => {
  const late = []
  const ask = () => createMutex('late').lock({ timeout: 2 ** 40 })
  const wait = setting({ setTimeout: (next) => late.push(next), clearTimeout() {} }, ask)
  const unlock = await wait
  setting({ setTimeout: assert.fail }, () => late.forEach((next) => next()))
  assert.equal(late.length, 1, 'it does not go on')
  assert.equal(await sqlTry(database.sql, 'late'), false)
  assert.equal(await unlock(), true)
})

/** What a library has for a signal where the runtime has none: no `throwIfAborted`, and `aborted` is a field. */
class Polyfill extends EventTarget {
  aborted = false
  abort(why) {
    Object.assign(this, { aborted: true, reason: why })
    this.dispatchEvent(new Event('abort'))
  }
}

const kinds = [
  ['a lock', (limits) => createMutex('library').lock(limits)],
  ['a fenced lock', (limits) => createMutex('library').lock({ ...limits, fencing: true })],
  ['a lock of several keys', (limits) => createMutex.all(['library', 'beside']).lock(limits)],
  ['a fenced lock of several keys', (limits) => createMutex.all(['library', 'beside']).lock({ ...limits, fencing: true })],
  ['a permit', (limits) => createMutex.semaphore('library', 1).lock(limits)],
]

for (const [title, lock] of kinds) {
  test(`an abort by the error of another call is no end of the own time: ${title}`, async () => {
    const unlocks = await Promise.all([holder('library').lock(), holder.semaphore('library', 1).lock()])
    const timeout = await createMutex('library').lock({ timeout: 1 }).catch((error) => error)
    assert.equal(timeout.code, 'ERR_LOCK_TIMEOUT')
    for (const reason of [timeout, Object.assign(new Error('mine'), { code: 'ERR_LOCK_TIMEOUT' })]) {
      const controller = new AbortController()
      const waiting = assert.rejects(lock({ signal: controller.signal, timeout: 60_000 }), (error) => error === reason)
      await until(() => createMutex.stats().waiting === 1, 'waiting')
      controller.abort(reason)
      await waiting
    }
    await assert.rejects(lock({ timeout: 20 }), { code: 'ERR_LOCK_TIMEOUT', message: /within 20 ms$/ })
    for (const unlock of unlocks) await unlock()
  })

  test(`the signal of a library: ${title}`, async () => {
    const inTheWay = () => Promise.all([holder('library').lock(), holder.semaphore('library', 1).lock()])
    for (const limits of [{}, { timeout: 0 }, { timeout: 1000 }]) await (await lock({ ...limits, signal: new Polyfill() }))()
    const unlocks = await inTheWay()
    const signal = new Polyfill()
    const waiting = assert.rejects(lock({ signal }), isFailure)
    await until(() => createMutex.stats().waiting === 1, 'waiting')
    signal.abort(failure)
    await waiting
    for (const limits of [{}, { timeout: 0 }, { timeout: 1000 }]) await assert.rejects(lock({ ...limits, signal }), isFailure)
    for (const unlock of unlocks) await unlock()
    const aborted = Object.assign(new Polyfill(), { aborted: true })
    await assert.rejects(lock({ signal: aborted }), { name: 'AbortError' })
  })
}

test('a signal and an error of another realm are as good as ours', async () => {
  const { controller, reason } = runInNewContext(
    `({ controller: new AbortController(), reason: new Error('of another realm') })`,
    { AbortController },
  )
  const polyfill = new Polyfill()
  assert.ok(!(polyfill instanceof AbortSignal) && !(reason instanceof Error))
  await sqlLock(database.sql, 'realm')
  for (const [signal, abort] of [
    [controller.signal, () => controller.abort(reason)],
    [polyfill, () => polyfill.abort(reason)],
  ]) {
    const waiting = assert.rejects(createMutex('realm').lock({ signal }), (error) => error === reason)
    await database.waiter('realm')
    abort()
    await waiting
    await database.noWaiter('realm')
    await assert.rejects(createMutex('realm').withLock(assert.fail, { signal }), (error) => error === reason)
  }
  await sqlUnlock(database.sql, 'realm')
  await assert.rejects(createMutex('realm').withLock(() => Promise.reject(reason)), (error) => error === reason)
  assert.equal(await sqlTry(database.sql, 'realm'), true)
})

test('what every object inherits is no part of a signal', async () => {
  const { stdout, stderr, status } = await runChild('inherited', [database.connectionString])
  assert.equal(status, 0, stderr)
  const outcomes = { signal: false, withLock: false, semaphore: false, election: false }
  assert.deepEqual(JSON.parse(stdout), { outcomes, held: 0 })
})

test('what fails in one completion does not take the rest of the mail with it', async () => {
  const { stdout, stderr, status } = await runChild('failing-handlers', [database.connectionString])
  assert.equal(status, 0, stderr)
  const { inside, outside, failures } = JSON.parse(stdout)
  assert.deepEqual(inside, Array(20).fill('ERR_LOCK_LOST'))
  assert.deepEqual(outside, Array(20).fill('ERR_LOCK_LOST'))
  assert.deepEqual(failures, Array(40).fill('on purpose'), 'each failure is told, for itself')
})
