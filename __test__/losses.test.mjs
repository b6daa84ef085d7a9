// Who is told of a lost hold: each its own holder, once, whatever else is given up meanwhile.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { openDatabase, sqlTry } from './support/database.mjs'

const { Losses } = createRequire(import.meta.url)('../lib/losses.js')
const database = await openDatabase()
const lost = { name: 'AdvisoryLockError', code: 'ERR_LOCK_LOST' }

/** Ends the session that holds the lock of this name; when the holders of these unlock functions have been told. */
async function lose(name, ...unlocks) {
  const told = unlocks.map(({ signal }) => once(signal, 'abort'))
  assert.ok((await database.terminate(name)) > 0)
  await Promise.all(told)
}

test('two holds are lost: each unlock function tells its own, again and again, and unlock() the rest', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const { lock, unlock } = createMutex('two')
  const [first, second] = [await lock(), await lock()]
  await lose('two', first, second)
  const [reason, again] = [await first().catch((error) => error), await first().catch((error) => error)]
  assert.equal(reason.code, 'ERR_LOCK_LOST')
  assert.equal(again, reason)
  await assert.rejects(unlock(), lost, 'the second')
  assert.equal(await unlock(), false)
  await assert.rejects(second(), lost, 'its own function tells it all the same')
  await assert.rejects(first(), lost)
  assert.equal(await unlock(), false)
  await createMutex.close()
})

test('unlock() tells each loss that no unlock function has told', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const { lock, tryLock, unlock, lockShared, unlockShared } = createMutex('three')
  const first = await lock()
  for (let index = 0; index < 3; index++) assert.equal(await tryLock(), true)
  await lockShared()
  await lose('three', first)
  await assert.rejects(unlockShared(), lost)
  assert.equal(await unlockShared(), false)
  await assert.rejects(first(), lost)
  for (let index = 0; index < 3; index++) await assert.rejects(unlock(), lost)
  assert.equal(await unlock(), false)
  await createMutex.close()
})

test('a loss that nobody took is not told to an unlock() of a later hold, nor of none', async () => {
  for (const take of ['lock', 'tryLock']) {
    const createMutex = advisoryLock(database.connectionString)
    const mutex = createMutex(`stale ${take}`)
    await lose(`stale ${take}`, await mutex.lock(), await mutex.lock())
    await mutex[take]()
    assert.equal(await sqlTry(database.sql, `stale ${take}`), false)
    assert.equal(await mutex.unlock(), true)
    assert.equal(await sqlTry(database.sql, `stale ${take}`), true)
    assert.equal(await mutex.unlock(), false)
    await createMutex.close()
  }
})

test('a loss of another name or mode, or while withLock runs, changes nothing of that', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const { tryLock, unlock, lockShared, unlockShared, withLock } = createMutex('kept')
  const shared = await lockShared()
  const other = await createMutex('other').lock()
  assert.equal(await tryLock(), true)
  const inside = assert.rejects(withLock(() => new Promise(() => {})), lost)
  await lose('kept', shared, other)
  await inside
  await (await lockShared())()
  await createMutex('other').withLock()
  await withLock()
  assert.equal(await unlockShared(), false, 'forgotten with the next grant in this mode')
  await assert.rejects(unlock(), lost, 'the loss of tryLock(), which only unlock() can tell')
  assert.equal(await unlock(), false)
  await assert.rejects(createMutex('other').unlock(), lost)
  await createMutex.close()
})

test('an unlock() that the loss comes before: the function of that hold tells it as well', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const { lock, unlock } = createMutex('overtaken')
  const held = await lock()
  await database.terminate('overtaken')
  await assert.rejects(unlock(), lost)
  await assert.rejects(held(), lost)
  assert.equal(await unlock(), false)
  await createMutex.close()
})

test('/v2: unlock() tells a loss once, and never instead of giving a later hold up', async () => {
  const createMutex = contract2(database.connectionString)
  const mutex = createMutex('v2')
  const first = await mutex.lock()
  await lose('v2', first)
  await assert.rejects(mutex.unlock(), lost)
  assert.equal(await mutex.unlock(), undefined)
  await assert.rejects(first(), lost)

  await lose('v2', await mutex.lock())
  const later = await mutex.tryLock()
  assert.equal(await mutex.unlock(), undefined)
  assert.equal(await sqlTry(database.sql, 'v2'), true)
  assert.equal(await mutex.unlock(), undefined, 'the loss is forgotten')
  assert.equal(await later(), undefined)
  await createMutex.close()
})

test('what is kept of losses has a bound', () => {
  const losses = new Losses()
  for (let index = 0; index < 30_000; index++) losses.add(`name ${index}`, { index })
  const kept = []
  for (let index = 0; index < 30_000; index++) kept.push(...[losses.take(`name ${index}`)].filter(Boolean))
  assert.equal(kept.length, 10_000)
  assert.equal(kept[0].index, 20_000, 'the latest')
  assert.ok(losses.isEmpty)
  for (let index = 0; index < 30_000; index++) losses.add('one name', { index })
  assert.ok(!losses.isEmpty)
  let count = 0
  while (losses.take('one name')) count++
  assert.ok(count > 0 && count <= 10_000, `${count} of one name`)
})
