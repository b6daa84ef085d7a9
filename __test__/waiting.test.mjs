// Waits for locks that others hold on the server: how many connections they take, and that each ends.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
const names = Array.from({ length: 40 }, (_, index) => `name ${index}`)
const held = async () => {
  for (const name of names) await sqlLock(database.sql, name)
}

for (const maxWaitConnections of [0, 1, 8]) {
  test(`40 waits take ${maxWaitConnections} connections besides the main one, and all are served`, async () => {
    await held()
    const createMutex = advisoryLock(database.connectionString, { maxWaitConnections })
    let served = 0
    const waits = names.map((name) =>
      createMutex(name)
        .lock()
        .then((unlock) => (served++, unlock)),
    )
    const queued = async () =>
      Number(await database.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"))
    await until(async () => (await queued()) === maxWaitConnections, 'all wait sessions are in use')
    await until(async () => (await database.connectionCount()) === maxWaitConnections + 1, 'and the main one')
    assert.equal(served, 0)
    // The last ones first: each is served without those before it.
    for (const [index, name] of names.toReversed().entries()) {
      if (index === 20) break
      await sqlUnlock(database.sql, name)
      await waits.at(-1 - index)
    }
    assert.equal(served, 20)
    await database.sql.query('SELECT pg_advisory_unlock_all()')
    for (const unlock of await Promise.all(waits)) assert.equal(await unlock(), true)
    assert.equal(await database.lockCount(), 0)
    await createMutex.client.end()
    assert.equal(await database.connectionCount(), 0)
  })
}

test('waits that are given up leave no waiter', async () => {
  await held()
  const createMutex = advisoryLock(database.connectionString, { maxWaitConnections: 3 })
  const controller = new AbortController()
  const waits = names.map((name) => createMutex(name).lock({ signal: controller.signal }))
  const ends = Promise.all(waits.map((wait) => assert.rejects(wait, { name: 'AbortError' })))
  const queued = () => database.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
  await until(async () => Number(await queued()) === 3, 'three wait in the queue')
  controller.abort()
  await ends
  await until(async () => (await database.lockCount()) === names.length, 'nobody waits any more')
  await database.sql.query('SELECT pg_advisory_unlock_all()')
  assert.equal(await createMutex(names[0]).tryLock(), true, 'nothing was taken for those who gave up')
  await createMutex.close()
})

test('a wait is cut into turns: it holds no snapshot for long', async () => {
  await sqlLock(database.sql, 'turns')
  const createMutex = advisoryLock(database.connectionString)
  const wait = createMutex('turns').lock()
  await database.waiter('turns')
  const started = () =>
    database.value(
      `SELECT a.query_start::text FROM pg_locks l JOIN pg_stat_activity a USING (pid)
       WHERE l.locktype = 'advisory' AND NOT l.granted`,
    )
  const first = await started()
  await until(async () => ![first, undefined].includes(await started()), 'another turn has begun', 3000)
  await sqlUnlock(database.sql, 'turns')
  await (
    await wait
  )()
  await createMutex.close()
})

test('1,000 names held at once', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const unlocks = await Promise.all(Array.from({ length: 1000 }, (_, index) => createMutex(`many ${index}`).lock()))
  assert.equal(await database.lockCount(), 1000)
  assert.ok((await database.connectionCount()) <= 3)
  await Promise.all(unlocks.map((unlock) => unlock()))
  assert.equal(await database.lockCount(), 0)
  await createMutex.close()
})

test('a session does not wait before it has heard that its release is done', async () => {
  // Else what cancels the wait could cancel the release, and what is held then be taken for what was not released.
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const [first, second] = [advisoryLock(proxy.connectionString), advisoryLock(proxy.connectionString)]
  await sqlLock(database.sql, 'released')
  const granted = first('released').lock()
  await database.waiter('released')
  await sqlUnlock(database.sql, 'released')
  const unlock = await granted
  const next = second('released').lock()
  // Longer than the process may keep the lock to itself.
  await sleep(30)
  proxy.holdAnswers()
  const unlocked = unlock()
  await until(() => sqlTry(database.sql, 'released'), 'the lock is free')
  assert.deepEqual(await database.locks('released'), [])
  proxy.heal()
  assert.equal(await unlocked, true)
  await (
    await next
  )()
  await Promise.all([first.close(), second.close()])
})
