// A wait harms nobody: it holds up neither index builds nor the clean-up of dead rows, for longer than a turn.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlUnlock } from './support/database.mjs'
import { startChild } from './support/process.mjs'

const database = await openDatabase()

async function startChildren(count) {
  const children = Array.from({ length: count }, () => startChild('remote', database.connectionString))
  after(() => children.forEach((child) => child.kill()))
  for (const child of children) assert.equal(await child.next(), 'ready')
  return children
}

test('an index is built concurrently inside withLock, whoever waits', async () => {
  await database.sql.query('CREATE TABLE stats AS SELECT generate_series(1, 10000) AS id')
  const children = await startChildren(5)
  const builder = await database.client()
  const milliseconds = await advisoryLock(database.connectionString)('migrations').withLock(async () => {
    children.forEach((child) => child.send({ name: 'migrations', method: 'lock' }))
    await database.waiter('migrations', 5)
    const begin = performance.now()
    await builder.query('CREATE INDEX CONCURRENTLY ON stats (id)')
    return performance.now() - begin
  })
  assert.ok(milliseconds < 5000, `it took ${milliseconds} ms`)
  // In whatever order: the turns of some have ended meanwhile.
  await Promise.all(
    children.map(async (child) => {
      assert.deepEqual(await child.next(), { value: 'function' })
      assert.deepEqual(await child.ask({ name: 'migrations', method: 'unlock' }), { value: true })
    }),
  )
})

test('a wait of 10 s never holds a snapshot older than 2 s', async () => {
  await sqlLock(database.sql, 'snapshot')
  const createMutex = advisoryLock(database.connectionString, { applicationName: 'waiter' })
  const wait = createMutex('snapshot').lock()
  await database.waiter('snapshot')
  const watcher = await database.client()
  /** Transaction ids that were given away, and when. */
  const past = []
  let snapshots = 0
  const end = performance.now() + 10_000
  while (performance.now() < end) {
    const { rows } = await watcher.query('SELECT pg_current_xact_id()::text::int8 AS id')
    past.push({ id: BigInt(rows[0].id), at: performance.now() })
    const shown = await watcher.query(
      `SELECT backend_xmin::text::int8 AS xmin FROM pg_stat_activity WHERE application_name = 'waiter' AND backend_xmin IS NOT NULL`,
    )
    const now = performance.now()
    for (const { xmin } of shown.rows) {
      snapshots++
      const younger = past.find(({ id }) => id >= BigInt(xmin))
      assert.ok(!younger || now - younger.at < 2000, `transaction ${xmin} is still seen after ${now - younger?.at} ms`)
    }
    await sleep(50)
  }
  assert.ok(snapshots > 50, 'it waits with a snapshot all the time')
  await sqlUnlock(database.sql, 'snapshot')
  await (
    await wait
  )()
  await createMutex.close()
})

test('first in, first out across processes, for waits shorter than a turn', async () => {
  const children = await startChildren(5)
  const blocker = await database.client()
  let judged = 0
  for (let round = 0; round < 10; round++) {
    const name = `order ${round}`
    await sqlLock(blocker, name)
    // Another order each time.
    const queue = children.map((_, index) => children[(index + round) % children.length])
    let begin
    for (const [index, child] of queue.entries()) {
      child.send({ name, method: 'lock' })
      begin ??= performance.now()
      await database.waiter(name, index + 1)
    }
    const served = []
    const all = queue.map(async (child, index) => {
      assert.deepEqual(await child.next(), { value: 'function' })
      served.push(index)
      assert.deepEqual(await child.ask({ name, method: 'unlock' }), { value: true })
    })
    await sqlUnlock(blocker, name)
    await Promise.all(all)
    // Slower than that, and a turn may have ended.
    if (performance.now() - begin > 1000) continue
    judged++
    assert.deepEqual(served, [0, 1, 2, 3, 4])
  }
  assert.ok(judged >= 3, `${judged} rounds of 10 were short enough to judge`)
})
