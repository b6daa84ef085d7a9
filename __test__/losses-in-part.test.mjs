// What several locks stand for is lost with one of them, and what is left of it is given back at once.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startChild } from './support/process.mjs'

const require = createRequire(import.meta.url)
const { nameOfPart, partOfDigit, partOfSlot } = require('../lib/semaphore-parts.js')
const entries = { 'contract 1': require('../index.js'), 'contract 2': require('../v2.js') }
const { strToKey } = entries['contract 1']
const database = await openDatabase()
const url = database.connectionString
const nothingLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing left locked')

function keyOf(name, part) {
  const [high, low] = strToKey(name)
  return nameOfPart({ high, low, flags: 0 }, part)
}

/**
 * Has one key waited for, so that another session holds it than the rest, and ends that session once all is held. The process has
 * a lock besides, or it would do with one session.
 */
async function loseWaited(key, begin, held) {
  const plain = await database.client()
  await sqlLock(plain, key)
  void begin()
  await database.waiter(key)
  await sqlUnlock(plain, key)
  await held()
  const pids = await database.sql.query('SELECT DISTINCT pid FROM pg_locks WHERE locktype = $1', ['advisory'])
  assert.ok(pids.rows.length > 1, 'several sessions hold')
  assert.equal(await database.terminate(key), 1)
}

for (const [contract, advisoryLock] of Object.entries(entries)) {
  const createMutex = advisoryLock(url)
  after(() => createMutex.close())

  test(`${contract}: several keys of which one is lost`, async () => {
    let waiting
    let unlock
    const besides = await createMutex('besides').lock()
    await loseWaited('a', () => (waiting = createMutex.all(['a', 'b', 'c']).lock()), async () => (unlock = await waiting))
    await until(() => unlock.signal.aborted, 'told')
    await besides()
    await nothingLeft()
    assert.equal(createMutex.stats().held, 0)
    for (let times = 0; times < 2; times++) await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
  })

  test(`${contract}: a permit whose slot stands, while what tells the number is lost in part`, async () => {
    let waiting
    let unlock
    const digit = keyOf('pool', partOfDigit(0, 0))
    const besides = await createMutex('besides').lock()
    await loseWaited(digit, () => (waiting = createMutex.semaphore('pool', 2).lock()), async () => (unlock = await waiting))
    await until(() => unlock.signal.aborted, 'told')
    await besides()
    await nothingLeft()
    await assert.rejects(unlock.verify(), { code: 'ERR_LOCK_LOST' })
    await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
    await (await createMutex.semaphore('pool', 3).lock())()
    await nothingLeft()
  })

  test(`${contract}: whoever is let in with another number is told the truth, whichever session is lost`, async () => {
    const [one, other] = [advisoryLock(url, { applicationName: 'one' }), advisoryLock(url, { applicationName: 'other' })]
    const before = [await other.semaphore('hole', 2).lock(), await other.semaphore('hole', 2).lock()]
    const semaphore = one.semaphore('hole', 2)
    // Or one session would do for all that it waits for.
    const besides = await one('besides').lock()
    const unlocks = []
    const locksOfSlots = () => Promise.all([0, 1].map((slot) => database.locks(keyOf('hole', partOfSlot(slot)))))
    const isWaiting = async () => (await locksOfSlots()).flat().some(({ granted }) => !granted)
    for (const unlock of before) {
      await until(async () => !(await isWaiting()), 'no wait is left')
      const waiting = semaphore.lock()
      await until(isWaiting, 'it waits')
      await unlock()
      unlocks.push(await waiting)
    }
    await other.close()
    await besides()
    const tellers = async () => (await database.locks(keyOf('hole', partOfDigit(0, 0)))).map(({ pid }) => pid)
    const [tells] = await tellers()
    const slots = await semaphore.holders()
    assert.ok(slots.length === 2 && slots.every(({ pid }) => pid !== tells), 'both slots are held by other sessions')
    await assert.rejects(createMutex.semaphore('hole', 3).tryLock(), { code: 'ERR_SEMAPHORE_MISMATCH' })
    await database.sql.query('SELECT pg_terminate_backend($1)', [tells])
    await until(() => unlocks.every(({ signal }) => signal.aborted), 'both are told')
    for (const unlock of unlocks) await assert.rejects(unlock.verify(), { code: 'ERR_LOCK_LOST' })
    await until(async () => (await tellers()).length === 0, 'the session is gone')
    const next = await createMutex.semaphore('hole', 3).lock()
    await assert.rejects(semaphore.lock(), { code: 'ERR_SEMAPHORE_MISMATCH', message: /2 permits here and 3 elsewhere/ })
    await next()
    await one.close()
    await nothingLeft()
  })

  test(`${contract}: the number is told anew for who waits when it is lost`, async () => {
    const [holder, waiter] = [advisoryLock(url, { applicationName: 'holder' }), advisoryLock(url, { applicationName: 'waiter' })]
    const unlock = await holder.semaphore('again', 1).lock()
    const told = async () => (await database.locks(keyOf('again', partOfDigit(0, 1)))).map(({ pid }) => pid)
    const [pidOfHolder] = await told()
    const waiting = waiter.semaphore('again', 1).lock()
    await database.waiter(keyOf('again', partOfSlot(0)))
    const pid = (await told()).find((one) => one !== pidOfHolder)
    await database.sql.query('SELECT pg_terminate_backend($1)', [pid])
    await until(async () => (await told()).length === 1, 'not told any more')
    await unlock()
    const granted = await waiting
    assert.equal(granted.signal.aborted, false)
    assert.ok((await granted.verify()) instanceof Date)
    await assert.rejects(createMutex.semaphore('again', 4).lock(), { code: 'ERR_SEMAPHORE_MISMATCH', message: /4 .* and 1 / })
    await granted()
    await Promise.all([holder.close(), waiter.close()])
    await nothingLeft()
  })
}

for (const [kind, parameters, key] of [
  ['all', ['a', 'b', 'c'], 'a'],
  ['semaphore', ['pool', '2'], keyOf('pool', partOfDigit(0, 0))],
]) {
  test(`contract 2, ${kind}: what is lost in part does not keep the process alive`, async () => {
    let child
    await loseWaited(
      key,
      () => (child = startChild('lost-in-part', url, kind, ...parameters)),
      async () => assert.equal(await child.next(), 'held'),
    )
    after(() => child.kill('SIGKILL'))
    assert.deepEqual(await child.next(), { told: 'ERR_LOCK_LOST', held: 0 })
    assert.deepEqual(await child.exited, { status: 0, signal: null })
    await nothingLeft()
  })
}
