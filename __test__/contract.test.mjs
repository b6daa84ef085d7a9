// Contract 1: the result of every method, as the original's 1.x line documents it.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import advisoryLock, { strToKey } from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock } from './support/database.mjs'

const database = await openDatabase()
const createMutex = advisoryLock(database.connectionString)
const other = advisoryLock(database.connectionString)

test('strToKey gives the keys of the original', () => {
  assert.deepEqual(strToKey('test-lock'), [-107789403, -1898803861])
  for (const name of ['', 'ü€𝄞', 'a'.repeat(1 << 20), '\ud800', 'nul\0byte']) {
    const digest = createHash('sha256').update(name).digest()
    assert.deepEqual(strToKey(name), [digest.readInt32LE(0), digest.readInt32LE(4)])
  }
})

test('lock resolves to an unlock function, which is idempotent', async () => {
  const unlock = await createMutex('lock').lock()
  assert.equal(typeof unlock, 'function')
  assert.equal(await sqlTry(database.sql, 'lock'), false)
  assert.equal(await unlock(), true)
  assert.equal(await sqlTry(database.sql, 'lock'), true)
  assert.equal(await unlock(), true, 'the same answer again')
  assert.equal(await createMutex('lock').unlock(), false, 'nothing is left to release')
})

test('an unlock function releases only its own hold', async () => {
  const { lock, unlock } = createMutex('own hold')
  const first = await lock()
  await first()
  const second = await lock()
  await first()
  assert.equal(await other('own hold').tryLock(), false)
  assert.equal(await second(), true)
  assert.equal(await unlock(), false)
})

test('an unlock function finds its hold given up by unlock()', async () => {
  const { lock, unlock } = createMutex('given up')
  const release = await lock()
  assert.equal(await unlock(), true)
  assert.equal(await release(), false)
})

test('unlock resolves to true, or to false where nothing is held', async () => {
  const { lock, unlock } = createMutex('unlock')
  assert.equal(await unlock(), false)
  await lock()
  assert.equal(await other('unlock').unlock(), false, 'not the hold of another owner')
  assert.equal(await unlock(), true)
  assert.equal(await unlock(), false)
})

test('tryLock resolves strictly to true or false', async () => {
  const mutex = createMutex('try')
  assert.equal(await mutex.tryLock(), true)
  assert.equal(await other('try').tryLock(), false)
  assert.equal(await sqlTry(database.sql, 'try'), false)
  assert.equal(await mutex.unlock(), true)
  assert.equal(await other('try').tryLock(), true)
  assert.equal(await mutex.tryLock(), false)
  await other('try').unlock()
  await sqlLock(database.sql, 'try')
  assert.equal(await mutex.tryLock(), false)
  await sqlUnlock(database.sql, 'try')
})

test('holds of one owner stack: n locks need n unlocks', async () => {
  const { lock, tryLock, unlock } = createMutex('stack')
  await lock()
  await createMutex('stack').lock()
  assert.equal(await tryLock(), true)
  for (let left = 3; left > 0; left--) {
    assert.equal(await other('stack').tryLock(), false)
    assert.equal(await sqlTry(database.sql, 'stack'), false)
    assert.equal(await unlock(), true)
  }
  assert.equal(await sqlTry(database.sql, 'stack'), true)
  assert.equal(await unlock(), false)
})

test('callers who share one advisoryLock(…) do not exclude each other', async () => {
  let inside = 0
  let most = 0
  const { withLock } = createMutex('together')
  let arrived
  const all = new Promise((resolve) => (arrived = resolve))
  await Promise.all(
    Array.from({ length: 18 }, () =>
      withLock(async () => {
        most = Math.max(most, ++inside)
        if (inside === 18) arrived()
        await all
        inside--
      }),
    ),
  )
  assert.equal(most, 18)
})

test('calls that do not await each other keep their order', async () => {
  const { lock, unlock } = createMutex('order')
  const results = await Promise.all([unlock(), lock(), unlock(), lock(), unlock(), unlock()])
  assert.deepEqual(
    results.map((result) => (typeof result === 'function' ? 'held' : result)),
    [false, 'held', true, 'held', true, false],
  )
  assert.equal(await sqlTry(database.sql, 'order'), true)
})

test('withLock gives what the function gives', async () => {
  const { withLock } = createMutex('with')
  const value = {}
  assert.equal(await withLock(() => value), value)
  assert.equal(await withLock(async () => value), value)
  assert.equal(await withLock(() => ({ then: (resolve) => resolve(7) })), 7, 'any thenable')
  assert.equal(await withLock(), undefined)
  assert.equal(await sqlTry(database.sql, 'with'), true)
})

test('withLock holds while the function runs, and not a moment longer', async () => {
  await createMutex('while').withLock(async () => {
    assert.equal(await sqlTry(database.sql, 'while'), false)
    assert.equal(await other('while').tryLock(), false)
  })
  assert.equal(await sqlTry(database.sql, 'while'), true)
})

test('withLock rejects with the very error of the function, and releases', async () => {
  const { withLock } = createMutex('error')
  for (const error of [new Error('on purpose'), undefined, 'a string']) {
    const thrown = () => {
      throw error
    }
    for (const fn of [thrown, async () => thrown(), () => Promise.reject(error)]) {
      await withLock(fn).then(
        () => assert.fail('it must reject'),
        (reason) => assert.equal(reason, error),
      )
      assert.equal(await sqlTry(database.sql, 'error'), true)
    }
  }
})

test('withLock calls without arguments, or with a signal where options are given', async () => {
  const { withLock, withLockShared } = createMutex('arguments')
  for (const run of [withLock, withLockShared]) {
    await run((...parameters) => assert.deepEqual(parameters, []))
    await run((...parameters) => {
      assert.equal(parameters.length, 1)
      assert.ok(parameters[0] instanceof AbortSignal)
      assert.equal(parameters[0].aborted, false)
    }, {})
    assert.equal(await run(undefined, {}), undefined)
  }
})

test('unlock() inside withLock counts as it did on one PostgreSQL session', async () => {
  const { lock, unlock, withLock } = createMutex('count')
  await lock()
  await withLock(async () => {
    assert.equal(await unlock(), true)
    assert.equal(await sqlTry(database.sql, 'count'), false, 'one hold is left')
  })
  assert.equal(await sqlTry(database.sql, 'count'), true)
  assert.equal(await withLock(() => unlock()), true, 'the only hold is that of withLock')
  assert.equal(await sqlTry(database.sql, 'count'), true)
})

test('a key is a name', async () => {
  await createMutex([-107789403, -1898803861]).lock()
  assert.equal(await other('test-lock').tryLock(), false)
  assert.equal(await createMutex('test-lock').unlock(), true)
  for (const key of [
    [0, 0],
    [2 ** 31 - 1, -(2 ** 31)],
  ]) {
    await createMutex(key).withLock(async () => assert.equal(await sqlTry(database.sql, key), false))
  }
})

test('an unlock never waits behind a blocked lock', async () => {
  await createMutex('held here').lock()
  await sqlLock(database.sql, 'held there')
  const blocked = createMutex('held there').lock()
  await database.waiter('held there')
  assert.equal(await createMutex('held here').unlock(), true)
  await sqlUnlock(database.sql, 'held there')
  await (
    await blocked
  )()
})

test('the signal of an unlock function is silent on release', async () => {
  const unlock = await createMutex('signal').lock()
  const { signal } = unlock
  assert.ok(signal instanceof AbortSignal)
  assert.equal(unlock.signal, signal)
  await unlock()
  assert.equal(signal.aborted, false)
})

test('unlock functions and createMutex are disposable', async () => {
  const dispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')
  const unlock = await createMutex('dispose').lock()
  assert.equal(await unlock[dispose](), undefined)
  assert.equal(await sqlTry(database.sql, 'dispose'), true)
  const short = advisoryLock(database.connectionString)
  await short('dispose').lock()
  await short[dispose]()
  assert.equal(await sqlTry(database.sql, 'dispose'), true)
})
