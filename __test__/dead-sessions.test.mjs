// A session that holds nothing may have died while nobody used it: whoever asks next is given another one.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlTry, until } from './support/database.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
/** So long, in milliseconds, that a session counts as one of which nobody knows whether it lives. */
const REST = 1100

test('a link that a router has forgotten: the next call connects anew', async () => {
  const links = []
  const proxy = await startProxy(database.connectionString, (near) => links.push(near))
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString, { idleTimeout: 600_000, answerTimeout: 1000 })
  assert.equal(await createMutex('forgotten').withLock(() => 1), 1)
  await sleep(REST)
  // What goes out is swallowed from here on, on this link alone.
  links[0].pause()
  const [tried, unlock, holders] = await Promise.all([
    createMutex('tried').tryLock(), createMutex('locked').lock(), createMutex('asked for').holders(),
  ])
  assert.equal(tried, true)
  assert.deepEqual(holders, [])
  assert.equal(links.length, 2)
  assert.equal(await sqlTry(database.sql, 'locked'), false)
  assert.equal(await unlock(), true)
  await createMutex('tried').unlock()
  await sleep(REST)
  links[1].pause()
  assert.deepEqual(await createMutex('asked for').holders(), [])
  assert.equal(links.length, 3)
  await createMutex.close()
})

test('links that a router has forgotten, of waits that are over too: the next call connects anew', async (t) => {
  const links = []
  const proxy = await startProxy(database.connectionString, (near) => links.push(near))
  t.after(proxy.close)
  const others = advisoryLock(database.connectionString)
  const createMutex = advisoryLock(proxy.connectionString, { idleTimeout: 600_000, answerTimeout: 1000 })
  t.after(() => Promise.all([others.close(), createMutex.close()]))
  const names = ['waited for', 'waited for as well']
  const held = await Promise.all(names.map((name) => others(name).lock()))
  const waits = names.map((name) => createMutex(name).lock())
  await until(async () => (await Promise.all(names.map((name) => others(name).holders()))).every((uses) => uses.length === 2), 'two wait in the queues')
  for (const unlock of held) await unlock()
  for (const wait of waits) await (await wait)()
  assert.equal(await createMutex('tried').tryLock(), true)
  assert.equal(await createMutex('tried').unlock(), true)
  const count = links.length
  assert.ok(count >= 2, `${count} connections`)
  await sleep(REST)
  for (const link of links) link.pause()
  const [tried, holders] = await Promise.all([createMutex('tried').tryLock(), createMutex('asked for').holders()])
  assert.equal(tried, true)
  assert.deepEqual(holders, [])
  assert.equal(await createMutex('tried').unlock(), true)
})

test('one more try is all there is', async () => {
  const proxy = await startProxy(database.connectionString)
  const createMutex = advisoryLock(proxy.connectionString, { idleTimeout: 600_000, answerTimeout: 1000, connectTimeout: 1000 })
  await createMutex('dead').withLock(() => {})
  await sleep(REST)
  proxy.silence()
  await assert.rejects(createMutex('dead').tryLock(), { code: 'ETIMEDOUT' })
  proxy.close()
  await createMutex.close()
})

test('where something was held, its holder is told, and so is who asks beside it', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString, { heartbeat: 60_000 })
  const unlock = await createMutex('held').lock()
  await sleep(REST)
  proxy.silence()
  const asked = assert.rejects(createMutex('beside').lock(), { code: 'ECONNRESET' })
  await sleep(10)
  proxy.cut()
  proxy.heal()
  await asked
  await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
  await createMutex.close()
})
