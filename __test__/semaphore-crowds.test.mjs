// `createMutex.semaphore` where many use it at once: who is refused, and how fast.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { openDatabase, until } from './support/database.mjs'
import { startListener } from './support/listener.mjs'

const require = createRequire(import.meta.url)
const entries = { 'contract 1': require('../index.js'), 'contract 2': require('../v2.js') }
const database = await openDatabase()
const url = database.connectionString
const nothingLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing left locked')
const open = entries['contract 2']
/** Owners whose sessions are their own. */
const openMany = (count) => Array.from({ length: count }, (_, index) => open(url, { applicationName: `user ${index}` }))
const closeAll = (owners) => Promise.all(owners.map((owner) => owner.close()))

test('who tries a wrong number again and again is in nobody else\'s way, and is told the number of those who are in', async () => {
  const [holder, right, ...wrong] = openMany(4)
  const unlock = await holder.semaphore('pool', 2).lock()
  let isOver = false
  const messages = new Set()
  let refused = 0
  const trying = wrong.map(async (owner, index) => {
    const semaphore = owner.semaphore('pool', [3, 5][index])
    while (!isOver) {
      await assert.rejects(semaphore.lock(), ({ code, message }) => messages.add(`${code}: ${message}`).size > 0)
      refused++
    }
  })
  await until(() => refused > 10, 'refused again and again')
  // Each time it begins anew to use the semaphore.
  const semaphore = right.semaphore('pool', 2)
  for (let times = 0; times < 50; times++) await (await semaphore.lock())()
  isOver = true
  await Promise.all(trying)
  assert.deepEqual([...messages].sort(), [
    'ERR_SEMAPHORE_MISMATCH: the semaphore has 3 permits here and 2 elsewhere',
    'ERR_SEMAPHORE_MISMATCH: the semaphore has 5 permits here and 2 elsewhere',
  ])
  await unlock()
  await closeAll([holder, right, ...wrong])
  await nothingLeft()
})

test('who comes and goes with a number is never told of as one with another number', async () => {
  const [coming, wrong] = openMany(2)
  const right = coming.semaphore('comes and goes', 341)
  const semaphore = wrong.semaphore('comes and goes', 682)
  let isOver = false
  let refused = 0
  const going = (async () => {
    while (!isOver) {
      await right.withLock(() => sleep(1)).catch((error) => assert.match(error.message, /^the semaphore has 341 permits here and 682 elsewhere$/))
    }
  })()
  // Until they have met, too.
  for (let times = 0; times < 100 || refused === 0; times++) {
    await semaphore.withLock(() => {}).catch(({ message }) => {
      assert.equal(message, 'the semaphore has 682 permits here and 341 elsewhere')
      refused++
    })
  }
  isOver = true
  await going
  await closeAll([coming, wrong])
  await nothingLeft()
})

for (const [permits, blocked, users] of [[4, 2, 2], [20, 10, 8], [2, 0, 2]]) {
  test(`tryLock is never refused where a permit is free: ${permits} permits, ${blocked} taken, ${users} users`, async () => {
    const [blocker, ...owners] = openMany(users + 1)
    const unlocks = await Promise.all(Array.from({ length: blocked }, () => blocker.semaphore('free', permits).lock()))
    await Promise.all(
      owners.map(async (owner) => {
        const semaphore = owner.semaphore('free', permits)
        for (let times = 0; times < 30; times++) {
          const unlock = await semaphore.tryLock()
          assert.ok(unlock, 'refused')
          await unlock()
          await (await semaphore.lock({ timeout: 0 }))()
        }
      }),
    )
    for (const unlock of unlocks) await unlock()
    await closeAll([blocker, ...owners])
    await nothingLeft()
  })
}

test('a server that does not answer: all who wait are told by one attempt', async () => {
  let attempts = 0
  const { port } = await startListener(() => attempts++)
  const owner = open(`postgres://nobody@127.0.0.1:${port}/x?sslmode=disable`, { connectTimeout: 500 })
  const semaphore = owner.semaphore('silent', 3)
  const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => semaphore.lock()))
  const reasons = outcomes.map(({ reason }) => reason)
  assert.deepEqual(reasons.map(({ code }) => code), Array(6).fill('ETIMEDOUT'))
  assert.equal(new Set(reasons).size, 6, 'an error of its own for each')
  assert.equal(attempts, 1)
  await owner.close()
})

for (const [contract, advisoryLock] of Object.entries(entries)) {
  test(`${contract}: objects of one name and number share their queue`, async () => {
    const owner = advisoryLock(url)
    const order = []
    await Promise.all(Array.from({ length: 20 }, (_, index) => owner.semaphore('many', 2).withLock(() => void order.push(index))))
    assert.deepEqual(order, Array.from({ length: 20 }, (_, index) => index))
    // A permit that comes back within its tenure goes to who waits here, at once: no server is asked.
    let handedOver = 0
    for (let times = 0; times < 20; times++) {
      const unlock = await owner.semaphore('many', 1).lock()
      let next
      const waiting = owner.semaphore('many', 1).lock().then((unlockNext) => (next = unlockNext))
      const giving = unlock()
      await nextTurn()
      if (next) handedOver++
      await Promise.all([giving, waiting])
      await next()
    }
    assert.ok(handedOver > 0)
    // `unlock()` is of the object through which a permit was taken.
    const [one, other] = [owner.semaphore('many', 2), owner.semaphore('many', 2)]
    await one.lock()
    await other.unlock()
    assert.equal((await other.holders()).length, 1)
    await one.unlock()
    assert.deepEqual(await other.holders(), [])
    await owner.close()
    await nothingLeft()
  })
}

test('who asks for a permit while others look for one does not look once more for nothing', async () => {
  const [holder, asker] = openMany(2)
  const [taken, semaphore] = [holder, asker].map((createMutex) => createMutex.semaphore('all taken', 300))
  const unlocks = await Promise.all(Array.from({ length: 300 }, () => taken.lock()))
  const timeOf = async (work) => {
    const begin = performance.now()
    await work()
    return performance.now() - begin
  }
  const single = []
  for (let round = 0; round < 9; round++) single.push(await timeOf(async () => assert.ok(!(await semaphore.tryLock()))))
  const one = single.toSorted((a, b) => a - b)[4]
  const count = 5000
  const all = await timeOf(async () => {
    const outcomes = await Promise.all(Array.from({ length: count }, () => semaphore.tryLock()))
    assert.ok(!outcomes.some(Boolean))
  })
  assert.ok(all < (count / 25) * one, `${all} ms for ${count}, ${one} ms for one`)
  // Nobody is told that there is none who came after one was given back.
  const asked = Array.from({ length: 50 }, () => semaphore.tryLock())
  await unlocks.pop()()
  const late = await semaphore.tryLock()
  const held = (await Promise.all(asked)).filter(Boolean)
  assert.equal(held.length + (late ? 1 : 0), 1)
  await closeAll([holder, asker])
})
