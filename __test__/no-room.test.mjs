// A server that has no room for another connection is not asked for one again and again, whoever calls how often; callers are told.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import advisoryLock, { strToKey } from '../index.js'
import { openDatabase, sqlTry, until } from './support/database.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
const CALLS = 300
// With a pause after each attempt, twice as long each time, so many take more than half a minute.
const FEW = 20

/** A role with room for so many connections, behind a proxy that counts the attempts. */
async function openRoom(limit) {
  const role = `room_${limit}_${database.connectionString.slice(-6)}`
  await database.sql.query(`CREATE ROLE ${role} LOGIN PASSWORD 'room' CONNECTION LIMIT ${limit}`)
  const url = new URL(database.connectionString)
  Object.assign(url, { username: role, password: 'room' })
  const room = { attempts: 0, limit: (count) => database.sql.query(`ALTER ROLE ${role} CONNECTION LIMIT ${count}`) }
  const proxy = await startProxy(url.href, () => room.attempts++)
  after(async () => {
    proxy.close()
    await until(async () => Number(await database.value(`SELECT count(*) FROM pg_stat_activity WHERE usename = '${role}'`)) === 0, 'nobody')
    await database.sql.query(`DROP ROLE ${role}`)
  })
  return Object.assign(room, { connectionString: proxy.connectionString })
}

test('without any connection: calls are refused with the reason, and work once there is room', async () => {
  const room = await openRoom(0)
  const createMutex = advisoryLock(room.connectionString)
  const mutex = createMutex('none')
  const calls = [() => mutex.tryLock(), () => mutex.lock(), () => mutex.withLock(assert.fail), () => mutex.holders()]
  for (let call = 0; call < CALLS; call++) {
    await assert.rejects(calls[call % calls.length](), ({ code, severity, message }) => {
      assert.deepEqual([code, severity], ['53300', 'FATAL'])
      assert.match(message, /too many connections for role/)
      return true
    })
  }
  assert.ok(room.attempts <= FEW, `${room.attempts} attempts for ${CALLS} calls`)
  await room.limit(1)
  await until(() => mutex.tryLock().catch(({ code }) => assert.equal(code, '53300')), 'the next attempt')
  assert.equal(await sqlTry(database.sql, 'none'), false)
  await createMutex.close()
})

for (const [how, end] of Object.entries({
  'idle, it was closed': (createMutex, { hasNone }) => hasNone(),
  'somebody ended it': async (createMutex, { hasNone }) => {
    await database.sql.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'only'")
    await hasNone()
  },
  'its owner was closed': (createMutex) => createMutex.close(),
})) {
  test(`the only connection is gone, beside which another was refused, as ${how}: the next call has its room`, async (t) => {
    const room = await openRoom(1)
    await database.sql.query('SELECT pg_advisory_lock($1, $2)', strToKey('taken'))
    t.after(() => database.sql.query('SELECT pg_advisory_unlock($1, $2)', strToKey('taken')))
    const options = { applicationName: 'only', idleTimeout: how === 'somebody ended it' ? 600_000 : 0 }
    const createMutex = advisoryLock(room.connectionString, options)
    const abort = new AbortController()
    const waiting = createMutex('taken').lock({ signal: abort.signal })
    // Until another one is not asked for any more at once.
    for (let tries = 0; room.attempts < 6; tries++) {
      await createMutex(`beside ${tries}`).tryLock()
      await createMutex(`beside ${tries}`).unlock()
    }
    abort.abort()
    await assert.rejects(waiting, { name: 'AbortError' })
    const hasNone = () => until(() => createMutex.stats().sessions === 0, 'it is gone, as far as anybody here knows')
    await end(createMutex, { hasNone })
    const next = how === 'its owner was closed' ? advisoryLock(room.connectionString, options) : createMutex
    const unlock = await next('free').lock()
    assert.equal(await unlock(), true)
    await next.close()
  })
}

test('with a full connection: it does what there is to do', async () => {
  const room = await openRoom(1)
  const createMutex = advisoryLock(room.connectionString)
  // More than one connection takes as they trickle in, and less than it takes at once.
  const held = await Promise.all(Array.from({ length: 800 }, (_, index) => createMutex(`held ${index}`).lock()))
  for (let call = 0; call < CALLS; call++) assert.equal(await createMutex(`more ${call}`).tryLock(), true)
  assert.ok(room.attempts <= FEW, `${room.attempts} attempts for ${CALLS} calls`)
  await room.limit(2)
  let calls = 0
  const connections = () => database.connectionCount()
  await until(async () => (await createMutex(`later ${calls++}`).tryLock()) && (await connections()) === 2, 'another connection', 20_000)
  for (const unlock of held) assert.equal(await unlock(), true)
  await createMutex.close()
})
