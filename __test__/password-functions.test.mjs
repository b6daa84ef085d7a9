// Passwords that a function gives: asked for each new session, on the thread that it belongs to.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { password, startServer, user } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'

const server = await startServer()
after(() => server.stop())
const database = await openDatabase(server)
const { pathname, port } = new URL(database.connectionString)
const base = { host: '127.0.0.1', port: Number(port), user, database: pathname.slice(1) }
const entries = { 'contract 1': advisoryLock, 'contract 2': contract2 }

/** An owner with this function, which the test closes. */
function owner(t, give, { entry = advisoryLock, options, ...more } = {}) {
  const createMutex = entry({ ...base, password: give, ...more }, options)
  t.after(() => createMutex.close())
  return createMutex
}

for (const [title, entry] of Object.entries(entries)) {
  test(`a function, sync or async, gives the password: ${title}`, async (t) => {
    for (const give of [() => password, async () => password, () => ({ then: (resolve) => resolve(password) })]) {
      assert.equal(await owner(t, give, { entry })('given').withLock(() => 1), 1)
    }
    assert.equal(await owner(t, password, { entry })('given').withLock(() => 1), 1)
    await assert.rejects(owner(t, () => 'wrong', { entry })('given').tryLock(), { code: '28P01', severity: 'FATAL' })
  })
}

test('it is asked for each new session, and not otherwise', async (t) => {
  let asked = 0
  const createMutex = owner(t, async () => {
    asked++
    return password
  })
  assert.equal(asked, 0, 'not before the first call')
  for (let count = 0; count < 5; count++) await createMutex('main').withLock()
  assert.equal(asked, 1)
  await sqlLock(database.sql, 'elsewhere')
  const unlock = await createMutex('main').lock()
  const wait = createMutex('elsewhere').lock()
  await database.waiter('elsewhere')
  assert.equal(asked, 2, 'the session that waits beside the one that holds has asked for itself')
  await unlock()
  await sqlUnlock(database.sql, 'elsewhere')
  await (
    await wait
  )()
})

test('a token that expires: the next session is opened with another', async (t) => {
  await database.sql.query(`CREATE ROLE tokens LOGIN PASSWORD 'token 0'`)
  let issued = 0
  const createMutex = owner(t, async () => `token ${issued}`, { user: 'tokens' })
  const unlock = await createMutex('tokens').lock()
  await database.sql.query(`ALTER ROLE tokens PASSWORD 'token 1'`)
  const lost = once(unlock.signal, 'abort')
  await database.terminate('tokens')
  await lost
  await assert.rejects(createMutex('tokens').tryLock(), { code: '28P01' })
  issued = 1
  assert.equal(await createMutex('tokens').tryLock(), true)
})

test('a token that expires while a process stands by, whose session is cut then', async (t) => {
  await database.sql.query(`CREATE ROLE standby LOGIN PASSWORD 'token 0'`)
  let issued = 0
  const createMutex = owner(t, async () => `token ${issued}`, { user: 'standby' })
  await sqlLock(database.sql, 'seat')
  const election = createMutex('seat').elect(({ signal }) => once(signal, 'abort'), { backoff: { min: 1, max: 10 } })
  await database.waiter('seat')
  await database.sql.query(`ALTER ROLE standby PASSWORD 'token 1'`)
  const failures = []
  election.on('standby', (error) => error && failures.push(error.code))
  await database.sql.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'standby'`)
  await until(() => failures.includes('28P01'), 'the server refuses the old token')
  issued = 1
  await database.waiter('seat')
  const elected = once(election, 'elected')
  await sqlUnlock(database.sql, 'seat')
  await elected
  await election.stop()
})

test('what the function fails with is what every caller is told, the very same', async (t) => {
  class TokenError extends Error {}
  const failures = [new TokenError('no token'), Object.freeze(Object.assign(new Error('frozen'), { code: 'EFROZEN' })), 'a text', { no: 'error' }, 7]
  for (const failure of failures) {
    for (const fail of [() => { throw failure }, () => Promise.reject(failure)]) {
      for (const entry of [advisoryLock, contract2]) {
        const { lock, tryLock, withLock, lockShared, holders } = owner(t, fail, { entry })('failing')
        const calls = [lock(), tryLock(), withLock(assert.fail), lockShared(), lock({ timeout: 5000 }), holders()]
        for (const outcome of await Promise.allSettled(calls)) {
          assert.equal(outcome.status, 'rejected')
          assert.ok(Object.is(outcome.reason, failure), String(outcome.reason))
        }
      }
    }
  }
  for (const nothing of [undefined, null, 0, '', false]) {
    const { tryLock } = owner(t, () => Promise.reject(nothing))('failing')
    await assert.rejects(tryLock(), { name: 'AdvisoryLockError', code: 'ERR_PASSWORD_FUNCTION' })
  }
  let isBroken = true
  const { tryLock } = owner(t, () => {
    if (isBroken) throw failures[0]
    return password
  })('mended')
  await assert.rejects(tryLock(), (error) => error === failures[0])
  isBroken = false
  assert.equal(await tryLock(), true, 'and the next call asks again')
})

test('what it gives that is no string', async (t) => {
  for (const value of [null, 5, {}, [password], Buffer.from(password), Symbol('secret'), () => password, new String(password)]) {
    const { tryLock } = owner(t, () => value)('no string')
    await assert.rejects(tryLock(), (error) => {
      assert.deepEqual([error.name, error.code], ['TypeError', 'ERR_INVALID_ARG_TYPE'])
      assert.match(error.message, /config\.password\(\).* must be a string/)
      assert.ok(!error.message.includes(password))
      return true
    })
  }
  await assert.rejects(owner(t, () => undefined)('none').tryLock(), { code: '28P01', message: /none is given/ })
})

test('a function that does not answer in time', async (t) => {
  let answer
  const give = () => new Promise((resolve) => (answer = resolve))
  const createMutex = owner(t, give, { options: { connectTimeout: 1000 } })
  const begin = performance.now()
  await assert.rejects(createMutex('late').tryLock(), { code: 'ETIMEDOUT' })
  assert.ok(performance.now() - begin < 8000)
  answer(password)
  const second = createMutex('late').tryLock()
  const first = answer
  await until(() => answer !== first, 'it is asked once more')
  answer(password)
  assert.equal(await second, true, 'what came too late harms nobody')
})

test('a thread that is busy while it is asked', async (t) => {
  const createMutex = owner(t, () => password, { options: { connectTimeout: 1000 } })
  const first = createMutex('busy').tryLock()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000)
  await assert.rejects(first, { code: 'ETIMEDOUT' })
  assert.equal(await createMutex('busy').tryLock(), true)
})

test('a lock that is given up while the function thinks', async (t) => {
  const createMutex = owner(t, () => new Promise(() => {}))
  const stop = new AbortController()
  const waits = [createMutex('x').lock({ signal: stop.signal }), createMutex('x').lock({ timeout: 50 }), createMutex('x').lock()]
  const settled = Promise.allSettled(waits)
  stop.abort()
  await assert.rejects(waits[0], { name: 'AbortError' })
  await assert.rejects(waits[1], { code: 'ERR_LOCK_TIMEOUT' })
  await createMutex.close()
  assert.deepEqual((await settled).map(({ status }) => status), ['rejected', 'rejected', 'rejected'])
  await assert.rejects(waits[2], { code: 'ERR_CLIENT_CLOSED' })
})

test('connections are shared where object and function are the same', async (t) => {
  const named = (name, give, more) => owner(t, give, { application_name: name, ...more })
  const count = (name) => database.value('SELECT count(*)::int FROM pg_stat_activity WHERE application_name = $1', [name])
  const lockAll = (owners) => Promise.all(owners.map((createMutex, index) => createMutex(`${index}`).tryLock()))
  const [one, other] = [() => password, () => password]
  await lockAll([named('one', one), named('one', one), named('one', one, { ssl: undefined, max: 5 })])
  assert.equal(await count('one'), 1)
  await lockAll([named('two', one), named('two', other)])
  assert.equal(await count('two'), 2)
  await lockAll([named('text', password), named('text', password)])
  assert.equal(await count('text'), 1)
})

test('a worker has functions of its own, and may end while one is asked', async () => {
  const index = fileURLToPath(new URL('../index.js', import.meta.url))
  const work = (body) =>
    new Worker(
      `const { workerData, parentPort } = require('node:worker_threads')
       const createMutex = require(workerData.index)({ ...workerData.base, password: ${body} })
       createMutex('of a worker').lock().then(() => parentPort.postMessage('held'), (error) => parentPort.postMessage(error.message))`,
      { eval: true, workerData: { index, base, password } },
    )
  const good = work('() => workerData.password')
  assert.deepEqual(await once(good, 'message'), ['held'])
  await good.terminate()
  const bad = work(`() => { throw new Error('of the worker') }`)
  assert.deepEqual(await once(bad, 'message'), ['of the worker'])
  await bad.terminate()
  const endless = work(`() => { parentPort.postMessage('asked'); return new Promise(() => {}) }`)
  assert.deepEqual(await once(endless, 'message'), ['asked'])
  await endless.terminate()
  await until(async () => (await database.locks('of a worker')).length === 0, 'all is given up')
})

test('errors that everybody has been told of are let go', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  const told = []
  const createMutex = owner(t, () => {
    const error = new Error('one of many')
    told.push(new WeakRef(error))
    throw error
  })
  for (let count = 0; count < 100; count++) await createMutex('many').tryLock().then(assert.fail, () => {})
  await until(() => {
    collect()
    return told.filter((error) => error.deref()).length <= 5
  }, 'few are kept')
})
