// Behind a real PgBouncer: session pooling works; transaction pooling, where a lock excludes nobody, is refused.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import pg from 'pg'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startChild } from './support/process.mjs'

const database = await openDatabase()
const refused = (error) => {
  assert.equal(error.name, 'AdvisoryLockError')
  assert.equal(error.code, 'ERR_TRANSACTION_POOLING')
  assert.match(error.message, /session pooling/)
  return true
}
const pooler = async (mode, settings) => {
  const started = await startPgBouncer(database.connectionString, mode, settings)
  after(started.stop)
  return started
}
const transaction = await pooler('transaction')

const nothingIsLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing is locked', 5000)

test('transaction pooling: the first call is refused, and nothing stays locked', async () => {
  const createMutex = advisoryLock(transaction.connectionString)
  const calls = ['lock', 'tryLock', 'withLock', 'lockShared', 'tryLockShared', 'unlock', 'holders']
  for (const method of calls.filter((name) => name !== 'unlock')) await assert.rejects(createMutex('alone')[method](), refused, method)
  assert.equal(await createMutex('alone').unlock(), false, 'it never held anything')
  await assert.rejects(createMutex('late').lock({ timeout: 1000 }), refused)
  await createMutex.close()
  await nothingIsLeft()
})

test('transaction pooling: two processes, neither gets in', async () => {
  const children = [1, 2].map(() => startChild('remote', transaction.connectionString))
  after(() => children.forEach((child) => child.kill()))
  for (const child of children) assert.equal(await child.next(), 'ready')
  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(children.map((child) => child.ask({ name: `both ${round}`, method: 'tryLock' })))
    assert.deepEqual(answers, [{ code: 'ERR_TRANSACTION_POOLING' }, { code: 'ERR_TRANSACTION_POOLING' }])
  }
  children.forEach((child) => child.kill())
  await nothingIsLeft()
})

test('transaction pooling: two keys contended in one process', async () => {
  const one = advisoryLock(transaction.connectionString)
  const two = advisoryLock(transaction.connectionString, { applicationName: 'two' })
  for (const name of ['contended 1', 'contended 2']) await sqlLock(database.sql, name)
  const calls = [one, two].flatMap((createMutex) => ['contended 1', 'contended 2'].map((name) => createMutex(name).lock()))
  await Promise.all(calls.map((call) => assert.rejects(call, refused)))
  for (const name of ['contended 1', 'contended 2']) await sqlUnlock(database.sql, name)
  await nothingIsLeft()
  await Promise.all([one.close(), two.close()])
})

test('transaction pooling amid other traffic: at most one is ever in, and in the end nothing is locked', async () => {
  const busy = await pooler('transaction', { default_pool_size: 3 })
  const noise = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const client = new pg.Client({ connectionString: busy.connectionString, application_name: 'plain client' })
      client.on('error', () => {})
      await client.connect()
      return client
    }),
  )
  let quiet = false
  const talking = noise.map(async (client) => {
    while (!quiet) await client.query('SELECT pg_sleep(0.002)')
  })
  let inside = 0
  let most = 0
  const owners = Array.from({ length: 6 }, (_, index) => advisoryLock(busy.connectionString, { applicationName: `owner ${index}` }))
  const outcomes = await Promise.all(
    owners.map(async (createMutex) => {
      const codes = []
      for (let round = 0; round < 10; round++) {
        try {
          const unlock = await createMutex('noisy').lock({ timeout: 2000 })
          // Who is told that the lock is lost is not in any more.
          if (!unlock.signal.aborted) most = Math.max(most, ++inside)
          unlock.signal.addEventListener('abort', () => inside--, { once: true })
          await new Promise((resolve) => setTimeout(resolve, 3))
          if (!unlock.signal.aborted) inside--
          await unlock()
        } catch (error) {
          codes.push(error.code)
        }
      }
      return codes
    }),
  )
  assert.ok(most <= 1, `${most} were in at once`)
  const codes = new Set(outcomes.flat())
  assert.ok(codes.has('ERR_TRANSACTION_POOLING'), [...codes].join())
  await Promise.all(owners.map((createMutex) => createMutex.close()))
  quiet = true
  await Promise.all(talking)
  await Promise.all(noise.map((client) => client.end()))
  await nothingIsLeft()
})

test('what a refused session has set is undone: other clients of the pooler keep their settings', async () => {
  const single = await pooler('transaction', { default_pool_size: 1 })
  await database.sql.query(`ALTER DATABASE ${await database.value('SELECT current_database()')} SET statement_timeout = '41s'`)
  const client = new pg.Client({ connectionString: single.connectionString, application_name: 'plain client' })
  await client.connect()
  const shown = async () => (await client.query('SHOW statement_timeout')).rows[0].statement_timeout
  assert.equal(await shown(), '41s')
  const createMutex = advisoryLock(single.connectionString)
  await assert.rejects(createMutex('settings').lock(), refused)
  assert.equal(await shown(), '41s')
  await client.end()
  await createMutex.close()
})

test('session pooling: everything works, shared and blocking included', async () => {
  const { connectionString } = await pooler('session')
  const [a, b] = [advisoryLock(connectionString), advisoryLock(connectionString, { applicationName: 'b' })]
  const child = startChild('remote', connectionString)
  after(() => child.kill())
  assert.equal(await child.next(), 'ready')

  const unlock = await a('session').lock()
  assert.equal(await b('session').tryLock(), false)
  assert.deepEqual(await child.ask({ name: 'session', method: 'tryLockShared' }), { value: false })
  const remote = child.ask({ name: 'session', method: 'lock' })
  await database.waiter('session')
  const local = b('session').lockShared({ timeout: 10_000 })
  await database.waiter('session', 2)
  assert.equal(await unlock(), true)
  assert.deepEqual(await remote, { value: 'function' })
  assert.deepEqual(await child.ask({ name: 'session', method: 'unlock' }), { value: true })
  await (
    await local
  )()
  await sqlLock(database.sql, 'session')
  await assert.rejects(a('session').lock({ timeout: 50 }), { code: 'ERR_LOCK_TIMEOUT' })
  await database.noWaiter('session')
  await sqlUnlock(database.sql, 'session')
  assert.equal((await Promise.all(Array.from({ length: 200 }, (_, i) => a(`session ${i}`).withLock(() => i)))).length, 200)
  const lost = await a('terminated').lock()
  await database.terminate('terminated')
  await assert.rejects(lost(), { code: 'ERR_LOCK_LOST' })
  assert.equal(await a('terminated').withLock(() => 'works'), 'works')
  child.kill()
  await Promise.all([a.close(), b.close()])
  await nothingIsLeft()
})

test('session pooling with no connection to spare works as well', async () => {
  const { connectionString } = await pooler('session', { default_pool_size: 1 })
  const createMutex = advisoryLock(connectionString)
  assert.equal(await createMutex('only').withLock(() => 'works'), 'works')
  await createMutex.close()
})
