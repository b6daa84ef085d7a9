// `createMutex.all`: several keys at once, all or nothing, without a deadlock whatever the order of the names.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startChild } from './support/process.mjs'

const require = createRequire(import.meta.url)
const entries = { 'contract 1': require('../index.js'), 'contract 2': require('../v2.js') }
const database = await openDatabase()
const url = database.connectionString

for (const [contract, advisoryLock] of Object.entries(entries)) {
  const createMutex = advisoryLock(url)
  const others = advisoryLock(url)
  after(() => Promise.all([createMutex.close(), others.close()]))
  const nothingLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing left locked')

  test(`${contract}: all are held, and all are given back`, async () => {
    const unlock = await createMutex.all(['a', 'b', 'c']).lock()
    for (const name of ['a', 'b', 'c']) assert.equal((await database.locks(name)).length, 1)
    assert.ok(!(await others('b').tryLock()))
    assert.ok(!(await others.all(['c', 'd']).tryLock()))
    await until(async () => (await database.locks('d')).length === 0, 'what was free is given back')
    await unlock()
    await nothingLeft()
  })

  test(`${contract}: what tryLock resolves to is the contract's`, async () => {
    const mutex = createMutex.all(['a', 'b'])
    const got = await mutex.tryLock()
    const denied = await others.all(['b', 'c']).tryLock()
    if (contract === 'contract 1') {
      assert.deepEqual([got, denied], [true, false])
      assert.equal(await mutex.unlock(), true)
      assert.equal(await mutex.unlock(), false)
    } else {
      assert.deepEqual([typeof got, denied], ['function', undefined])
      assert.equal(await got(), undefined)
    }
    await nothingLeft()
  })

  test(`${contract}: a name twice is one hold; pairs, bigints and names may be mixed`, async () => {
    const unlock = await createMutex.all(['a', 'a', [1, 2], 7n, [1, 2]]).lock()
    assert.equal(await database.lockCount(), 3)
    await unlock()
    await nothingLeft()
  })

  test(`${contract}: while one is waited for, none of the others is held`, async () => {
    const plain = await database.client()
    await sqlLock(plain, 'b')
    const waiting = createMutex.all(['a', 'b', 'c']).lock()
    await database.waiter('b')
    assert.ok((await database.locks('a')).every(({ granted }) => !granted))
    const unlockA = await others('a').lock()
    await unlockA()
    await sqlUnlock(plain, 'b')
    await (await waiting)()
    await nothingLeft()
  })

  test(`${contract}: withLock, shared holds, and fn's signal`, async () => {
    const mutex = createMutex.all(['a', 'b'])
    const result = await mutex.withLockShared(async (signal) => {
      assert.equal(signal.aborted, false)
      assert.ok(!(await others.all(['b', 'c']).tryLock()))
      await others.all(['a', 'b']).withLockShared(() => {})
      return 5
    }, {})
    assert.equal(result, 5)
    await assert.rejects(mutex.withLock(() => { throw new Error('mine') }), { message: 'mine' })
    await nothingLeft()
  })

  test(`${contract}: time limits and aborts leave nothing behind`, async () => {
    const plain = await database.client()
    await sqlLock(plain, 'c')
    const mutex = createMutex.all(['a', 'b', 'c'])
    await assert.rejects(mutex.lock({ timeout: 50 }), { code: 'ERR_LOCK_TIMEOUT', message: /within 50 ms/ })
    await assert.rejects(mutex.lock({ timeout: 0 }), { code: 'ERR_LOCK_TIMEOUT' })
    const controller = new AbortController()
    const waiting = mutex.withLock(() => {}, { signal: controller.signal })
    await database.waiter('c')
    const reason = new Error('enough')
    controller.abort(reason)
    await assert.rejects(waiting, (error) => error === reason)
    await assert.rejects(mutex.lock({ signal: controller.signal }), (error) => error === reason)
    await sqlUnlock(plain, 'c')
    await nothingLeft()
  })

  test(`${contract}: a lost session is told once, by one signal`, async () => {
    const unlock = await createMutex.all(['a', 'b', 'c']).lock()
    let told = 0
    unlock.signal.addEventListener('abort', () => told++)
    createMutex.client?.once('error', () => told++)
    await database.terminate('a')
    await until(() => unlock.signal.aborted, 'told')
    assert.equal(unlock.signal.reason.code, 'ERR_LOCK_LOST')
    await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
    await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
    assert.equal(told, createMutex.client ? 2 : 1)
    await nothingLeft()
  })

  test(`${contract}: holders of all keys`, async () => {
    const unlock = await createMutex.all(['a', 'b']).lock()
    const holders = await others.all(['a', 'b', 'c']).holders()
    assert.deepEqual(holders.map(({ mode, granted }) => ({ mode, granted })), Array(2).fill({ mode: 'exclusive', granted: true }))
    await unlock()
  })

  test(`${contract}: tryWithLock, verify, and one leader of all`, async () => {
    const mutex = createMutex.all(['a', 'b'])
    assert.deepEqual(await mutex.tryWithLock(() => 3), { acquired: true, value: 3 })
    const unlock = await mutex.lock()
    assert.ok((await unlock.verify()) instanceof Date)
    assert.deepEqual(await others.all(['b', 'c']).tryWithLock(() => 3), { acquired: false })
    await unlock()
    const elections = []
    const elected = (who) => new Promise((resolve) => elections.push(who.all(['a', 'b']).elect((term) => resolve(term) ?? new Promise((end) => term.signal.addEventListener('abort', end)))))
    await elected(createMutex)
    const next = elected(others)
    assert.deepEqual(elections.map(({ isLeader }) => isLeader), [true, false])
    await elections[0].stop()
    await next
    assert.deepEqual(elections.map(({ isLeader }) => isLeader), [false, true])
    await elections[1].stop()
    await nothingLeft()
  })

  test(`${contract}: lists of names that are none`, () => {
    for (const [names, code] of [
      [[], 'ERR_OUT_OF_RANGE'],
      [Array.from({ length: 1001 }, (_, index) => `${index}`), 'ERR_OUT_OF_RANGE'],
      ['a', 'ERR_INVALID_ARG_TYPE'],
      [undefined, 'ERR_INVALID_ARG_TYPE'],
      [['a', 5], 'ERR_INVALID_ARG_TYPE'],
      [new Array(3), 'ERR_INVALID_ARG_TYPE'],
    ]) {
      assert.throws(() => createMutex.all(names), { code })
    }
  })
}

test('a thousand names at once', async () => {
  const createMutex = entries['contract 2'](url)
  const unlock = await createMutex.all(Array.from({ length: 1000 }, (_, index) => `many ${index}`)).lock()
  assert.equal(await database.lockCount(), 1000)
  await unlock()
  await createMutex.close()
  assert.equal(await database.lockCount(), 0)
})

test('8 processes, 64 names, sets in any order, cancels: no deadlock, nobody starves, nothing is left', async () => {
  await database.sql.query(
    'CREATE TABLE room (id int PRIMARY KEY, inside int, most int); INSERT INTO room SELECT id, 0, 0 FROM generate_series(1, 64) id',
  )
  const seconds = Number(process.env.LOCK_TEST_SECONDS ?? 8)
  const children = Array.from({ length: 8 }, (_, index) => startChild('several', url, 'all', index + 1, 3, seconds * 1000))
  after(() => children.forEach((child) => child.kill()))
  const results = []
  for (const child of children) {
    results.push(await child.next())
    assert.deepEqual(await child.exited, { status: 0, signal: null })
  }
  const waits = results.flatMap((result) => result.waits).sort((a, b) => a - b)
  const sections = results.reduce((sum, result) => sum + result.sections, 0)
  assert.equal(sections, waits.length)
  const median = waits[Math.floor(waits.length / 2)]
  assert.ok(waits.at(-1) <= 50 * median, `longest wait ${waits.at(-1)} ms, median ${median} ms of ${waits.length}`)
  assert.ok(results.some(({ failures }) => Object.keys(failures).length > 0), 'something was cancelled')
  await until(async () => (await database.lockCount()) === 0, 'nothing left locked')
})
