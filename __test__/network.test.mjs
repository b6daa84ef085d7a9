// A network that is cut in the middle: no side sees anything but silence, the server least of all.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, until } from './support/database.mjs'
import { createNamespace } from './support/namespace.mjs'
import { startOpenServer } from './support/open-server.mjs'

const skip = process.platform !== 'linux' && 'only Linux has network namespaces'

test('a cut network: the holder is told before the server lets the next in', { skip }, async (t) => {
  const server = await startOpenServer()
  const database = await openDatabase(server)
  const network = createNamespace()
  t.after(network.close)
  const url = new URL(database.connectionString)
  url.hostname = network.address
  await sqlLock(database.sql, 'awaited')

  const child = network.start('told', url.href, 'held', 'awaited')
  const lines = createInterface({ input: child.stdout })
  const events = []
  lines.on('line', (line) => events.push(JSON.parse(line)))
  t.after(async () => {
    child.stdin.end()
    if (child.exitCode === null) await once(child, 'exit')
  })
  const event = async (name, limit) => {
    await until(() => events.find((each) => each.event === name), name, limit)
    return events.find((each) => each.event === name)
  }
  await event('held')
  await database.waiter('awaited')

  const createMutex = advisoryLock(database.connectionString)
  const next = createMutex('held').lock()
  await database.waiter('held')

  const now = () => Number(process.hrtime.bigint()) / 1e6
  network.cut()
  const cut = now()
  const queueLeft = until(async () => (await database.locks('awaited')).every(({ granted }) => granted), 'the queue is left', 20_000).then(now)
  const unlock = await next
  const granted = now()
  await unlock()
  const lost = await event('lost', 20_000)
  const refused = await event('refused', 20_000)
  const left = await queueLeft
  const after_ = (time) => `${((time - cut) / 1000).toFixed(2)} s`
  t.diagnostic(
    `after the cut: the holder is told ${after_(lost.at)}, the next has the lock ${after_(granted)}, ` +
      `the waiter behind the cut has left the queue ${after_(left)} and is told ${after_(refused.at)}`,
  )
  assert.deepEqual([lost.code, lost.cause], ['ERR_LOCK_LOST', 'ETIMEDOUT'])
  assert.equal(refused.code, 'ETIMEDOUT')
  assert.ok(lost.at - cut < 12_000, 'the holder is told in time')
  assert.ok(lost.at < granted, 'and before the next has it')
  assert.ok(granted - cut < 25_000, 'the server does not keep it for the dead')
  assert.ok(left - cut < 3000, 'nobody queues for the dead')
  await createMutex.close()
})
