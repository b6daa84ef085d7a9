// Whatever is repeated many thousand times: the process does not grow, nor do its connections.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { openDatabase, sqlLock, until } from './support/database.mjs'
import { startChildWith } from './support/process.mjs'

const MIB = 2 ** 20
// A small nursery, which is soon as large as it gets: what grows after that is a leak.
const FLAGS = ['--expose-gc', '--max-semi-space-size=1']
const PARTS = 4

const database = await openDatabase()
await sqlLock(database.sql, 'held')

async function elsewhere() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return `postgres://127.0.0.1:${port}/nobody`
}

const nowhere = new URL(database.connectionString)
nowhere.pathname = '/no_such_database'

for (const [title, action, count, callers, { at = database.connectionString, connections = 1 } = {}] of [
  ['locks, each taken and given back', 'lock', 100_000, 64],
  ['shared critical sections', 'scoped', 100_000, 16],
  ['connections that are refused', 'refused', 10_000, 16, { at: await elsewhere(), connections: 0 }],
  ['connections that the server rejects', 'rejected', 2000, 8, { at: nowhere.href, connections: 0 }],
  ['waits whose time is over', 'timeout', 10_000, 16, { connections: 2 }],
  ['waits that a signal ends', 'abort', 10_000, 16, { connections: 2 }],
  ['clients with their connections', 'client', 20_000, 16],
]) {
  test(`${count} ${title}`, { timeout: 120_000 }, async (context) => {
    const child = startChildWith(FLAGS, 'repeat', at, action, count, callers, PARTS)
    context.after(() => child.kill())
    const { rss, heapUsed } = await child.next()
    assert.ok(rss < MIB, `the process grew by ${rss} bytes in each part`)
    assert.ok(heapUsed < MIB / PARTS, `JavaScript's heap grew by ${heapUsed} bytes in each part`)
    await until(async () => (await database.connectionCount()) <= connections, `${connections} connections are enough`)
    child.send('end')
    assert.deepEqual(await child.exited, { status: 0, signal: null })
    await until(async () => (await database.connectionCount()) === 0, 'the process has left the server')
    assert.equal(await database.lockCount(), 1, 'but for the one that is held here')
  })
}
