// Behind a real PgBouncer: session pooling works; transaction pooling, where a lock excludes nobody, is refused.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startPooler } from './support/pooler.mjs'
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

// A lost backend is looked for in the pool for as long as an answer is waited for.
const nothingIsLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing is locked', 20_000)

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
  // What a refused session has left in the pool is given back after the call is answered, by the process that had it.
  await nothingIsLeft()
  children.forEach((child) => child.kill())
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

/**
 * What other clients of a pooler find in each of its server sessions: nothing of ours. The session of a connection that was found out
 * is looked for in the pool meanwhile, which goes on after all is closed.
 */
async function nothingIsSet(connectionString, size) {
  let found
  await until(async () => (found = await whatIsSet(connectionString, size)).length === 0, 'nothing is set', 20_000).catch((error) => {
    assert.deepEqual(found, [], error.message)
  })
}

/** What is set in the server sessions of a pooler that is not so in others. */
async function whatIsSet(connectionString, size) {
  const connect = (string) => database.client(string)
  const clients = await Promise.all([connect(database.connectionString), ...Array.from({ length: size }, () => connect(connectionString))])
  const [expected, ...found] = await Promise.all(
    clients.map(async (client) => {
      const { rows } = await client.query(
        `SELECT current_setting('search_path') AS path, current_setting('statement_timeout') AS timeout,
         coalesce(current_setting('advisory_lock_native.session', true), '') AS fingerprint, pg_sleep(0.2)::text AS slept`,
      )
      return rows[0]
    }),
  )
  await Promise.all(clients.map((client) => client.end()))
  assert.equal(expected.path, '"$user", public')
  return found.filter((one) => !isDeepStrictEqual(one, expected))
}

/** Uses locks in every way, by two owners with sessions of their own, again and again through the same few server sessions. */
async function sessionsWork(connectionString, { rounds = 3 } = {}) {
  for (let round = 0; round < rounds; round++) {
    const [a, b] = ['a', 'b'].map((applicationName) => advisoryLock(connectionString, { applicationName, maxWaitConnections: 1 }))
    const unlock = await a('pooled').lock()
    assert.equal(await b('pooled').tryLock(), false)
    const wait = b('pooled').lock()
    await database.waiter('pooled')
    assert.equal(await unlock(), true)
    const second = await wait
    assert.equal(await a('pooled').tryLock(), false)
    assert.equal(await second(), true)
    for (let idle = 0; idle < 20; idle++) assert.equal(await a(`pooled ${idle}`).withLock(() => idle), idle)
    await Promise.all([a.close(), b.close()])
  }
  await nothingIsLeft()
}

test('session pooling that resets nothing: sessions leave as they came, and the next ones work', async () => {
  const { connectionString } = await pooler('session', { server_reset_query: '', default_pool_size: 5 })
  await sessionsWork(connectionString)
  await nothingIsSet(connectionString, 5)
  for (const tellsTruth of [false, true]) {
    const own = await startPooler(database.connectionString, { mode: 'session', size: 5, tellsTruth })
    await sessionsWork(own.connectionString)
    await nothingIsSet(own.connectionString, 5)
  }
})

test('session pooling that resets nothing: the fingerprint of a session that was killed is no proof', async () => {
  for (const tellsTruth of [false, true]) {
    const own = await startPooler(database.connectionString, { mode: 'session', size: 3, tellsTruth })
    const child = startChild('remote', own.connectionString)
    assert.equal(await child.next(), 'ready')
    assert.deepEqual(await child.ask({ name: 'killed', method: 'tryLock' }), { value: true })
    assert.deepEqual(await child.ask({ name: 'killed', method: 'unlock' }), { value: true })
    child.kill('SIGKILL')
    await child.exited
    const createMutex = advisoryLock(own.connectionString)
    for (let round = 0; round < 3; round++) assert.equal(await createMutex('killed').withLock(() => 'works'), 'works')
    await createMutex.close()
  }
})

test('a server session with the locks of somebody else is not used', async () => {
  const own = await startPooler(database.connectionString, { mode: 'session', size: 2 })
  const client = await database.client(own.connectionString)
  await sqlLock(client, 'left behind')
  await client.end()
  const createMutex = advisoryLock(own.connectionString)
  await assert.rejects(createMutex('left behind').tryLock(), refused)
  await createMutex.close()
})

test('a pooler that keeps a server session for whoever holds an advisory lock', async () => {
  for (const tellsTruth of [false, true]) {
    const own = await startPooler(database.connectionString, { mode: 'holder', size: 6, tellsTruth })
    await sessionsWork(own.connectionString)
    await nothingIsSet(own.connectionString, 6)
  }
})

// That it lends is found out by a call, which had not been made anywhere then.
test('such a pooler that tells no lie of process ids, and lends another session than the one that it told of', async () => {
  const own = await startPooler(database.connectionString, { mode: 'holder', size: 3, tellsTruth: true, rotates: 'later' })
  const createMutex = advisoryLock(own.connectionString)
  assert.equal(await createMutex('told').tryLock(), true)
  assert.equal(await sqlTry(database.sql, 'told'), false)
  assert.equal(await createMutex('told').unlock(), true)
  for (let round = 0; round < 3; round++) assert.equal(await createMutex('told').withLock(() => round), round)
  await createMutex.close()
  await nothingIsLeft()
  await nothingIsSet(own.connectionString, 3)
})

// The lock by which it is found out is in a backend that others are lent later.
test('a pooler that keeps a server session only so often: refused, and nothing is left behind', async () => {
  for (let times = 0; times < 8; times++) {
    const own = await startPooler(database.connectionString, { mode: 'holder', size: 3, rotates: true, keeps: (kept) => kept <= times })
    const createMutex = advisoryLock(own.connectionString)
    await assert.rejects(createMutex('kept').tryLock(), refused, `kept ${times} times`)
    await createMutex.close()
    await nothingIsLeft()
    await nothingIsSet(own.connectionString, 3)
  }
})

test('a pooler that falls silent while it is being found out: nothing is left behind', async () => {
  for (let times = 0; times < 7; times++) {
    const silence = new Promise(() => {})
    const keeps = (kept) => kept <= times || silence
    const own = await startPooler(database.connectionString, { mode: 'holder', size: 3, rotates: true, keeps })
    const createMutex = advisoryLock(own.connectionString, { connectTimeout: 500 })
    await assert.rejects(createMutex('silent').tryLock(), { code: 'ETIMEDOUT' }, `kept ${times} times`)
    await createMutex.close()
    await nothingIsLeft()
  }
})

test('a pooler that shares sessions is found out, and nobody else finds anything changed meanwhile', async () => {
  const own = await startPooler(database.connectionString, { mode: 'transaction', size: 3 })
  const client = await database.client(own.connectionString)
  let quiet = false
  const watching = (async () => {
    while (!quiet) {
      const { rows } = await client.query(`SELECT current_setting('search_path') AS path, current_setting('default_transaction_isolation') AS level`)
      assert.deepEqual(rows, [{ path: '"$user", public', level: 'read committed' }])
    }
  })()
  const owners = ['a', 'b'].map((applicationName) => advisoryLock(own.connectionString, { applicationName }))
  for (let round = 0; round < 5; round++) {
    await Promise.all(owners.map((createMutex) => assert.rejects(createMutex('shared').tryLock(), refused)))
  }
  quiet = true
  await watching
  await client.end()
  await Promise.all(owners.map((createMutex) => createMutex.close()))
  await nothingIsLeft()
  await nothingIsSet(own.connectionString, 3)
})

test('a pooler that shares sessions and tells no lie of process ids: nobody is let in twice', async () => {
  const own = await startPooler(database.connectionString, { mode: 'transaction', size: 2, tellsTruth: true })
  let inside = 0
  let most = 0
  const codes = new Set()
  const owners = Array.from({ length: 4 }, (_, index) => advisoryLock(own.connectionString, { applicationName: `owner ${index}` }))
  await Promise.all(
    owners.map(async (createMutex) => {
      for (let round = 0; round < 25; round++) {
        try {
          const unlock = await createMutex('truthful').lock({ timeout: 0 })
          if (!unlock.signal.aborted) most = Math.max(most, ++inside)
          unlock.signal.addEventListener('abort', () => inside--, { once: true })
          await new Promise((resolve) => setTimeout(resolve, 2))
          if (!unlock.signal.aborted) inside--
          await unlock()
        } catch (error) {
          codes.add(error.code)
        }
      }
    }),
  )
  assert.ok(most <= 1, `${most} were in at once`)
  // With two server sessions for all of them one may have none for long.
  const expected = ['ERR_TRANSACTION_POOLING', 'ERR_LOCK_TIMEOUT', 'ERR_LOCK_LOST', 'ETIMEDOUT']
  for (const code of codes) assert.ok(expected.includes(code), code)
  assert.ok(codes.has('ERR_TRANSACTION_POOLING'))
  await Promise.all(owners.map((createMutex) => createMutex.close()))
  await nothingIsLeft()
})

test('a pooler that gives each statement to another server session is refused', async () => {
  const { connectionString } = await pooler('statement')
  const createMutex = advisoryLock(connectionString)
  await assert.rejects(createMutex('statements').lock(), refused)
  await createMutex.close()
  await nothingIsLeft()
})
