// `createMutex.semaphore`: never more than so many holders, over all processes.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openDatabase, until } from './support/database.mjs'
import { startChild } from './support/process.mjs'
import { choices } from './support/random.mjs'

const require = createRequire(import.meta.url)
const entries = { 'contract 1': require('../index.js'), 'contract 2': require('../v2.js') }
const database = await openDatabase()
const url = database.connectionString
/** On the clock that all processes share. */
const now = () => Number(process.hrtime.bigint()) / 1e6
const nothingLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing left locked')

for (const [contract, advisoryLock] of Object.entries(entries)) {
  const createMutex = advisoryLock(url)
  const others = advisoryLock(url)
  after(() => Promise.all([createMutex.close(), others.close()]))

  test(`${contract}: so many hold, one more waits for the first who is done`, async () => {
    const here = createMutex.semaphore('pool', 3)
    const there = others.semaphore('pool', 3)
    const unlocks = [await here.lock(), await there.lock(), await here.lock()]
    assert.ok(!(await here.tryLock()))
    assert.ok(!(await there.tryLock()))
    let granted = false
    const waiting = there.lock().then((unlock) => {
      granted = true
      return unlock
    })
    await assert.rejects(here.lock({ timeout: 50 }), { code: 'ERR_LOCK_TIMEOUT', message: /within 50 ms/ })
    assert.equal(granted, false)
    await unlocks[1]()
    await (await waiting)()
    await unlocks[0]()
    await unlocks[2]()
    await nothingLeft()
  })

  test(`${contract}: what is resolved to is the contract's`, async () => {
    const semaphore = createMutex.semaphore('pool', 1)
    const got = await semaphore.tryLock()
    const denied = await semaphore.tryLock()
    if (contract === 'contract 1') assert.deepEqual([got, denied], [true, false])
    else assert.deepEqual([typeof got, denied], ['function', undefined])
    assert.equal(await semaphore.unlock(), contract === 'contract 1' ? true : undefined)
    assert.equal(await semaphore.withLock(() => 7), 7)
    await nothingLeft()
  })

  test(`${contract}: holders lists the slots and who waits`, async () => {
    const semaphore = createMutex.semaphore('pool', 2)
    const unlocks = [await semaphore.lock(), await semaphore.lock()]
    const holders = await semaphore.holders()
    assert.ok((await unlocks[0].verify()) instanceof Date)
    assert.deepEqual(holders.map(({ granted, slot }) => ({ granted, slot })), [0, 1].map((slot) => ({ granted: true, slot })))
    for (const unlock of unlocks) await unlock()
    assert.deepEqual(await semaphore.holders(), [])
  })

  test(`${contract}: another number of permits is an error that says both`, async () => {
    const unlock = await createMutex.semaphore('pool', 5).lock()
    for (const take of ['lock', 'tryLock', 'withLock']) {
      await assert.rejects(others.semaphore('pool', 12)[take](), {
        code: 'ERR_SEMAPHORE_MISMATCH',
        message: 'the semaphore has 12 permits here and 5 elsewhere',
      })
    }
    await unlock()
    await nothingLeft()
    // Nobody uses it with 5 any more.
    await (await others.semaphore('pool', 12).lock())()
    await nothingLeft()
  })

  test(`${contract}: many begin at once, and nobody takes another's look for another number`, async () => {
    const owners = Array.from({ length: 20 }, () => advisoryLock(url))
    await Promise.all(owners.map((owner) => owner.semaphore('pool', 6).withLock(() => {})))
    await Promise.all(owners.map((owner) => owner.close()))
    await nothingLeft()
  })

  test(`${contract}: a lost session is told`, async () => {
    const semaphore = createMutex.semaphore('pool', 2)
    const unlock = await semaphore.lock()
    const [{ pid }] = await semaphore.holders()
    await database.sql.query('SELECT pg_terminate_backend($1)', [pid])
    await until(() => unlock.signal.aborted, 'told')
    assert.equal(unlock.signal.reason.code, 'ERR_LOCK_LOST')
    await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
    await (await semaphore.lock())()
    await nothingLeft()
  })

  test(`${contract}: what a search needs cannot be made: the call rejects, and nobody holds anything`, async (t) => {
    const { AbortController } = globalThis
    const restore = () => (globalThis.AbortController = AbortController)
    t.after(restore)
    const semaphore = createMutex.semaphore('pool', 1)
    globalThis.AbortController = class {
      constructor() {
        throw new Error('on purpose')
      }
    }
    await assert.rejects(semaphore.withLock(assert.fail, {}), { message: 'on purpose' })
    await assert.rejects(Promise.race([semaphore.lock(), sleep(5000)]), { message: 'on purpose' })
    restore()
    await nothingLeft()
    assert.equal(await semaphore.withLock(() => 'works'), 'works')
    await nothingLeft()
  })

  test(`${contract}: permits that are none`, () => {
    for (const permits of [0, -1, 1001, 1.5, NaN, Infinity]) {
      assert.throws(() => createMutex.semaphore('pool', permits), { code: 'ERR_OUT_OF_RANGE' })
    }
    for (const permits of ['3', undefined, null, 3n]) {
      assert.throws(() => createMutex.semaphore('pool', permits), { code: 'ERR_INVALID_ARG_TYPE' })
    }
    assert.throws(() => createMutex.semaphore(5, 5), { code: 'ERR_INVALID_ARG_TYPE' })
  })
}

test('first in, first out', async () => {
  const owner = entries['contract 2'](url)
  const semaphore = owner.semaphore('queue', 2)
  const first = [await semaphore.lock(), await semaphore.lock()]
  const order = []
  const waiting = Array.from({ length: 10 }, (_, index) => semaphore.withLock(() => void order.push(index)))
  await first[0]()
  await Promise.all(waiting)
  await first[1]()
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  await owner.close()
})

test('a thousand permits', async () => {
  const owner = entries['contract 2'](url)
  const semaphore = owner.semaphore('crowd', 1000)
  const unlocks = await Promise.all(Array.from({ length: 1000 }, () => semaphore.lock()))
  assert.equal(await semaphore.tryLock(), undefined)
  const waiting = semaphore.lock()
  await unlocks[500]()
  await (await waiting)()
  await Promise.all(unlocks.map((unlock) => unlock()))
  await owner.close()
  await nothingLeft()
})

test('4 processes: never more than the permits inside', async () => {
  await database.sql.query('CREATE TABLE room (id int, inside int, most int); INSERT INTO room VALUES (0, 0, 0)')
  const children = Array.from({ length: 4 }, (_, index) => startChild('several', url, 'semaphore', index + 1, 4, 5000))
  after(() => children.forEach((child) => child.kill()))
  for (const child of children) {
    const { sections } = await child.next()
    assert.ok(sections > 0)
    assert.deepEqual(await child.exited, { status: 0, signal: null })
  }
  const most = await database.value('SELECT most FROM room')
  // How many meet is up to the machine.
  assert.ok(most > 1 && most <= 5, `${most} inside at a time`)
  await nothingLeft()
})

test('4 processes that are killed again and again: never more than the permits inside', async () => {
  const seconds = Number(process.env.LOCK_TEST_SECONDS ?? 8)
  const permits = 5
  const begin = now()
  const holds = []
  let kills = 0
  // Until enough has happened, however long that takes the machine.
  const isOver = () => now() > begin + seconds * 1000 && kills >= seconds && holds.length > 20 * seconds
  /** One process after the other in one place, each killed after a while. */
  const place = async ({ between }) => {
    while (!isOver()) {
      const child = startChild('permits-again', url, 'killed again', permits, 4)
      const inside = new Map()
      let begins
      const begun = new Promise((resolve) => (begins = resolve))
      const watching = (async () => {
        for (;;) {
          const { caller, from, to } = await child.next()
          begins()
          if (from !== undefined) inside.set(caller, from)
          else holds.push({ from: inside.get(caller), to }) && inside.delete(caller)
        }
      })().catch(() => {})
      // Some are killed before they have got in.
      if (between(0, 4) > 0) await begun
      await sleep(between(200, 1500))
      // It holds until it is killed at least, and the server knows of that later.
      const to = now()
      child.kill('SIGKILL')
      kills++
      assert.deepEqual(await child.exited, { status: null, signal: 'SIGKILL' })
      await watching
      for (const from of inside.values()) holds.push({ from, to: Math.max(from, to) })
    }
  }
  await Promise.all(Array.from({ length: 4 }, (_, index) => place(choices(index))))
  const changes = holds.flatMap(({ from, to }) => [[from, 1], [to, -1]]).sort(([one, up], [other, down]) => one - other || up - down)
  let inside = 0
  let most = 0
  for (const [, change] of changes) most = Math.max(most, (inside += change))
  assert.ok(most > 1 && most <= permits, `${most} inside at a time, of ${holds.length} holds`)
  await nothingLeft()
})

test("a killed holder's permit is back at once", async () => {
  const owner = entries['contract 2'](url)
  const semaphore = owner.semaphore('killed', 3)
  const unlocks = [await semaphore.lock(), await semaphore.lock()]
  const child = startChild('permit', url, 'killed', 3)
  after(() => child.kill('SIGKILL'))
  assert.equal(await child.next(), 'held')
  const waiting = semaphore.lock()
  assert.equal(await semaphore.tryLock(), undefined)
  const begin = performance.now()
  child.kill('SIGKILL')
  unlocks.push(await waiting)
  assert.ok(performance.now() - begin < 1000)
  for (const unlock of unlocks) await unlock()
  await owner.close()
  await nothingLeft()
})
