// Never two holders through a transaction pooler: processes add to a counter in the database by reading and then writing it.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import advisoryLock from '../index.js'
import { openDatabase, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startPooler } from './support/pooler.mjs'
import { startChild } from './support/process.mjs'

const database = await openDatabase()

const bouncer = (settings) => async () => {
  const started = await startPgBouncer(database.connectionString, 'transaction', { server_login_retry: 1, ...settings })
  after(started.stop)
  return started
}
const own = (how) => () => startPooler(database.connectionString, { mode: 'transaction', ...how })

/** Who is outside of the pooler takes part. */
const DIRECT = { isDirect: true }

for (const [name, start, processes] of [
  ['PgBouncer with one server connection', bouncer({ default_pool_size: 1 }), [{ callers: 1 }, { callers: 1 }]],
  ['PgBouncer with two server connections, renewed every second', bouncer({ default_pool_size: 2, server_lifetime: 1 }), [{ callers: 2 }, { callers: 2 }]],
  ['PgBouncer with five, and processes without it', bouncer({ default_pool_size: 5 }), [{ callers: 3, ways: 'lock,withLock,shared' }, { callers: 2, ways: 'tryLock,timeout' }, { callers: 2, ...DIRECT }]],
  ['a pooler that gives each transaction another session, and rolls back what a client leaves', own({ size: 4, rotates: true, rollsBack: true }), [{ callers: 2, ways: 'lock,shared' }, { callers: 2 }]],
]) {
  test(name, async () => {
    const { connectionString } = await start()
    await database.sql.query(`
      DROP TABLE IF EXISTS counter, room;
      CREATE TABLE counter (n int); INSERT INTO counter VALUES (0);
      CREATE TABLE room (inside int); INSERT INTO room VALUES (0)`)
    const rounds = 15
    const children = processes.map(({ callers, ways = 'lock,withLock', isDirect }) => {
      const locks = isDirect ? [] : [`${connectionString}?pgbouncer=true`]
      return startChild('counter', database.connectionString, callers, rounds, ways, ...locks)
    })
    after(() => children.forEach((child) => child.kill()))
    const ended = children.map((child) => child.exited)
    for (const child of children) assert.equal(await child.next(), 'done')
    assert.deepEqual(await Promise.all(ended), children.map(() => ({ status: 0, signal: null })))
    const expected = processes.reduce((sum, { callers }) => sum + callers * rounds, 0)
    assert.equal(await database.value('SELECT n FROM counter'), expected)
    await until(async () => (await database.lockCount()) === 0, 'nothing is locked', 5000)
  })
}

test('who hands a lock on among its own callers for ever does not keep others out', async () => {
  const { connectionString } = await bouncer({ default_pool_size: 5 })()
  const owner = (applicationName) => advisoryLock(connectionString, { transactionPooling: true, applicationName })
  const busy = Array.from({ length: 4 }, () => owner('busy'))
  const other = owner('other')
  let isOver = false
  let served = 0
  const serving = busy.map(async (createMutex) => {
    while (!isOver) {
      await createMutex('busy').withLock(() => sleep(1))
      served++
    }
  })
  await until(() => served > 50, 'the lock is handed on')
  for (let turn = 0; turn < 5; turn++) await other('busy').withLock(() => {}, { timeout: 20_000 })
  isOver = true
  await Promise.all(serving)
  await Promise.all([...busy, other].map((createMutex) => createMutex.close()))
})
