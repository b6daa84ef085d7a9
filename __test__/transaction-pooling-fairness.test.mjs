// Who waits through a pooler is not passed over for ever by those who wait in the server's queue, where there always is somebody.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, test } from 'node:test'
import advisoryLock from '../v2.js'
import { openDatabase } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'

const database = await openDatabase()
const bouncer = await startPgBouncer(database.connectionString, 'transaction', { default_pool_size: 8 })
after(bouncer.stop)
/** A wait that takes longer never ends. */
const LONG = { timeout: 90_000 }

const ways = {
  pooled: [bouncer.connectionString, { transactionPooling: true }],
  direct: [database.connectionString, {}],
  'with both strings': [bouncer.connectionString, { transactionPooling: true, directConnectionString: database.connectionString }],
}
let owners = 0
/** One with connections of its own, as another process has. */
function owner(t, way) {
  const [connectionString, options] = ways[way]
  const createMutex = advisoryLock(connectionString, { ...options, applicationName: `owner ${++owners}` })
  t.after(() => createMutex.close())
  return createMutex
}

for (const [who, others, method, section, count] of [
  ['pooled', 'direct', 'lock', 250, 3],
  ['with both strings', 'direct', 'lock', 250, 3],
  ['pooled', 'pooled', 'lockShared', 700, 3],
  ['pooled', 'direct', 'lockShared', 700, 3],
]) {
  test(`a wait, ${who}, beside ${count} others, ${others}, who always want the lock by ${method}()`, async (t) => {
    const name = `${who} ${others} ${method}`
    let isOver = false
    const contenders = Array.from({ length: count }, async (_, index) => {
      const mutex = owner(t, others)(name)
      await sleep((index * section) / count)
      while (!isOver) {
        const unlock = await mutex[method]()
        await sleep(section)
        await unlock()
      }
    })
    await sleep(2 * section)
    const unlock = await owner(t, who)(name).lock(LONG)
    isOver = true
    assert.equal(unlock.signal.aborted, false)
    await unlock()
    await Promise.all(contenders)
  })
}
