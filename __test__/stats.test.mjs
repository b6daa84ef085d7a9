// createMutex.stats(): what one advisoryLock(…) holds and awaits at this moment.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'

const database = await openDatabase()
const nothing = { held: 0, waiting: 0, sessions: 0, oldestWait: 0 }

for (const [title, entry] of Object.entries({ 'contract 1': advisoryLock, 'contract 2': contract2 })) {
  test(`it counts holds and waits: ${title}`, async (t) => {
    const createMutex = entry(database.connectionString, { applicationName: `stats of ${title}` })
    t.after(() => createMutex.close())
    const { stats } = createMutex
    assert.deepEqual(stats(), nothing, 'before the first call')
    const unlocks = await Promise.all([createMutex('a').lock(), createMutex('b').lockShared(), createMutex(5n).lock()])
    assert.deepEqual(stats(), { ...nothing, held: 3, sessions: 1 })

    await sqlLock(database.sql, 'elsewhere')
    const begin = performance.now()
    const waits = [createMutex('elsewhere').lock(), createMutex('elsewhere').lock()]
    await database.waiter('elsewhere')
    await sleep(30)
    const later = createMutex('elsewhere').withLock(() => 1)
    const { held, waiting, sessions, oldestWait } = stats()
    assert.deepEqual({ held, waiting, sessions }, { held: 3, waiting: 3, sessions: 2 })
    assert.ok(oldestWait >= 30 && oldestWait <= performance.now() - begin + 1, String(oldestWait))
    assert.equal(await createMutex('elsewhere').tryLock().then(Boolean), false)
    assert.equal(stats().waiting, 3, 'a try does not wait')
    await sqlUnlock(database.sql, 'elsewhere')
    for (const wait of waits) await (await wait)()
    await later
    assert.deepEqual([stats().waiting, stats().oldestWait, stats().held], [0, 0, 3])
    for (const unlock of unlocks) await unlock()
    assert.equal(stats().held, 0)
    await createMutex('a').lock()
    await createMutex.close()
    assert.deepEqual(stats(), nothing)
  })

  test(`a lock of several keys counts once, and so does a permit: ${title}`, async (t) => {
    const createMutex = entry(database.connectionString)
    t.after(() => createMutex.close())
    const all = createMutex.all(['x', 'y', 'z'])
    const semaphore = createMutex.semaphore('pool', 1)
    const unlocks = [await all.lock(), await semaphore.lock()]
    assert.equal(createMutex.stats().held, 2)
    const others = entry(database.connectionString)
    t.after(() => others.close())
    const stop = new AbortController()
    const waits = [others.all(['x', 'q']), others.semaphore('pool', 1)].map((mutex) => mutex.lock({ signal: stop.signal }))
    const settled = Promise.allSettled(waits)
    await sleep(20)
    const { held, waiting, oldestWait } = others.stats()
    assert.deepEqual([held, waiting], [0, 2])
    assert.ok(oldestWait >= 19, String(oldestWait))
    stop.abort()
    await settled
    assert.equal(others.stats().waiting, 0)
    assert.equal(await semaphore.tryLock().then(Boolean), false)
    for (const unlock of unlocks) await unlock()
    assert.equal(createMutex.stats().held, 0)
    await all.lock()
    await semaphore.lock()
    await createMutex.close()
    assert.equal(createMutex.stats().held, 0)
  })

  test(`elections count: ${title}`, async (t) => {
    const createMutex = entry(database.connectionString)
    t.after(() => createMutex.close())
    const rival = entry(database.connectionString)
    t.after(() => rival.close())
    const lead = async ({ signal }) => signal.aborted || once(signal, 'abort')
    const leader = createMutex('seat').elect(lead)
    await once(leader, 'elected')
    assert.deepEqual([createMutex.stats().held, createMutex.stats().waiting], [1, 0])
    const standby = rival('seat').elect(lead)
    await until(() => rival.stats().waiting === 1, 'it stands by')
    assert.equal(rival.stats().held, 0)
    const elected = once(standby, 'elected')
    await leader.stop()
    await elected
    assert.deepEqual([rival.stats().held, rival.stats().waiting, createMutex.stats().held], [1, 0, 0])
  })

  test(`who waits for a fenced transaction waits: ${title}`, async (t) => {
    const createMutex = entry(database.connectionString)
    t.after(() => createMutex.close())
    const former = await createMutex('fenced').lock({ fencing: true })
    const client = await database.client()
    await client.query('BEGIN')
    await client.query(former.fence)
    await former()
    for (const mutex of [createMutex('fenced'), createMutex.all(['fenced', 'beside'])]) {
      const controller = new AbortController()
      const waiting = assert.rejects(mutex.lock({ fencing: true, signal: controller.signal }), { name: 'AbortError' })
      await until(async () => (await database.value("SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")) > 0, 'it waits')
      const { held, waiting: waits, oldestWait } = createMutex.stats()
      assert.deepEqual([held, waits], [0, 1])
      assert.ok(oldestWait > 0)
      controller.abort()
      await waiting
      assert.deepEqual([createMutex.stats().held, createMutex.stats().waiting], [0, 0])
    }
    await client.query('ROLLBACK')
    await client.end()
    const unlock = await createMutex('fenced').lock({ fencing: true })
    assert.deepEqual([createMutex.stats().held, createMutex.stats().waiting], [1, 0])
    await unlock()
  })

  test(`a loss: ${title}`, async (t) => {
    const createMutex = entry(database.connectionString)
    t.after(() => createMutex.close())
    const unlock = await createMutex('lost').lock()
    const lost = once(unlock.signal, 'abort')
    await database.terminate('lost')
    await lost
    assert.deepEqual(createMutex.stats(), nothing)
  })
}

test('each advisoryLock(…) has its own numbers, and sees the sessions that it shares', async (t) => {
  const owners = [advisoryLock(database.connectionString), advisoryLock(database.connectionString)]
  t.after(() => Promise.all(owners.map((createMutex) => createMutex.close())))
  const [one, two] = owners
  await one('mine').lock()
  assert.equal(await two('mine').tryLock(), false)
  assert.deepEqual([one.stats(), two.stats()], [
    { ...nothing, held: 1, sessions: 1 },
    { ...nothing, sessions: 1 },
  ])
})

test('a connection string that cannot be used', async () => {
  const createMutex = advisoryLock('postgres://h:port')
  await assert.rejects(createMutex('x').tryLock())
  assert.deepEqual(createMutex.stats(), nothing)
})
