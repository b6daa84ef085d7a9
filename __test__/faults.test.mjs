// Lost sessions: whoever held a lock on one is told at once, nothing hangs, and the next call works.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { runChild, startChild } from './support/process.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
const lost = (cause) => (error) => {
  assert.equal(error.name, 'AdvisoryLockError')
  assert.equal(error.code, 'ERR_LOCK_LOST')
  assert.equal(error.cause.code, cause)
  return true
}

test('a terminated session: every hold on it is lost, and its holder told', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const mutex = createMutex('terminated')
  const unlock = await mutex.lock()
  assert.equal(await createMutex('terminated try').tryLock(), true)
  // Watched from the beginning: it may be told before the query that terminates is answered.
  const told = assert.rejects(mutex.withLock(() => new Promise(() => {})), lost('57P01'))
  const listened = once(createMutex.client, 'error')
  const aborted = once(unlock.signal, 'abort')
  assert.equal(await database.terminate('terminated'), 1)
  await aborted
  assert.ok(lost('57P01')(unlock.signal.reason))
  await told
  assert.ok(lost('57P01')((await listened)[0]))
  await assert.rejects(unlock(), lost('57P01'))
  await assert.rejects(createMutex('terminated try').unlock(), lost('57P01'), 'unlock() tells as well')
  assert.equal(await createMutex('terminated try').unlock(), false, 'and only once')
  assert.equal(await mutex.withLock(() => 'works'), 'works')
  await createMutex.close()
})

test('the signal given to fn fires, and the late end of fn changes nothing', async () => {
  const createMutex = advisoryLock(database.connectionString)
  let finish
  const running = createMutex('late').withLock(async (signal) => {
    await once(signal, 'abort')
    finish = Promise.reject(new Error('fn fails later'))
    return finish
  }, {})
  const outcome = assert.rejects(running, lost('57P01'))
  await createMutex('late').lockShared()
  await database.terminate('late')
  await outcome
  await assert.rejects(finish)
  assert.equal(await createMutex('late').tryLock(), true)
  await createMutex.close()
})

test('a waiter in the process gets the lock that its holder has lost', async () => {
  const holder = advisoryLock(database.connectionString)
  const waiter = advisoryLock(database.connectionString)
  const told = []
  const unlock = await holder('inherited').lock()
  unlock.signal.addEventListener('abort', () => told.push('holder'))
  const wait = waiter('inherited').lock()
  void wait.then(() => told.push('waiter'))
  await database.terminate('inherited')
  await (
    await wait
  )()
  assert.deepEqual(told, ['holder', 'waiter'], 'the holder is told first')
  await Promise.all([holder.close(), waiter.close()])
})

test('losses that nobody listens to harm nobody', async () => {
  const child = startChild('unheard', database.connectionString)
  after(() => child.kill())
  assert.equal(await child.next(), 'holding')
  assert.ok((await database.terminate('unheard')) >= 1)
  assert.equal(await child.next(), 'ERR_LOCK_LOST')
  assert.deepEqual(await child.exited, { status: 0, signal: null })
})

test('a cut link: while holding, while waiting, while unlocking', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString)
  const holding = createMutex('cut').withLock(() => new Promise(() => {}))
  await sqlLock(database.sql, 'cut elsewhere')
  const waiting = createMutex('cut elsewhere').lock()
  const outcomes = Promise.all([
    assert.rejects(holding, lost('ECONNRESET')),
    assert.rejects(waiting, { code: 'ECONNRESET' }),
  ])
  await database.waiter('cut elsewhere')
  proxy.cut()
  await outcomes

  const unlock = await createMutex('cut').lock()
  proxy.silence()
  const unlocking = assert.rejects(unlock(), lost('ECONNRESET'))
  proxy.cut()
  proxy.heal()
  await unlocking
  assert.equal(await createMutex('cut').withLock(() => 'works'), 'works')
  await sqlUnlock(database.sql, 'cut elsewhere')
  await createMutex.close()
})

test('a silent network: the holder is told within 8 s, and the connection is given up', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString)
  const unlock = await createMutex('silent').lock()
  const aborted = once(unlock.signal, 'abort')
  const since = performance.now()
  proxy.silence()
  await aborted
  assert.ok(performance.now() - since < 8000, `told after ${performance.now() - since} ms`)
  assert.ok(lost('ETIMEDOUT')(unlock.signal.reason))
  proxy.heal()
  assert.equal(await createMutex('else').withLock(() => 'works'), 'works')
  await createMutex.close()
})

test('the heartbeat can be quicker', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString, { heartbeat: 100 })
  const unlock = await createMutex('quick').lock()
  const aborted = once(unlock.signal, 'abort')
  const since = performance.now()
  proxy.silence()
  await aborted
  // By itself it would be after 4.8 s and three seconds more at most.
  assert.ok(performance.now() - since < 7000)
  proxy.heal()
  await createMutex.close()
})

test('how long an answer may take can be told: shorter, and the holder is told sooner', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString, { heartbeat: 200, answerTimeout: 1000 })
  const unlock = await createMutex('impatient').lock()
  const aborted = once(unlock.signal, 'abort')
  const since = performance.now()
  proxy.silence()
  await aborted
  const passed = performance.now() - since
  assert.ok(passed > 700 && passed < 4000, `told after ${passed} ms`)
  assert.ok(lost('ETIMEDOUT')(unlock.signal.reason))
  proxy.heal()
  await createMutex.close()
})

test('how long an answer may take can be told: longer, and a server that stands still for a while costs nothing', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString, { heartbeat: 200, answerTimeout: 20_000 })
  const unlock = await createMutex('patient').lock()
  proxy.silence()
  const calls = [createMutex('meanwhile').lock(), createMutex('meanwhile').tryLockShared(), createMutex('patient').holders()]
  await new Promise((resolve) => setTimeout(resolve, 6500))
  proxy.heal()
  assert.equal(typeof (await calls[0]), 'function')
  assert.equal(await calls[1], true)
  assert.equal((await calls[2]).length, 1)
  assert.equal(unlock.signal.aborted, false)
  assert.equal(await unlock(), true)
  await createMutex.close()
})

test('a session that loses a lock behind our back says so', async () => {
  const createMutex = advisoryLock(database.connectionString, { applicationName: 'tampered' })
  const unlock = await createMutex('tampered').lock()
  const [{ pid }] = await database.locks('tampered')
  await database.sql.query('SELECT pg_cancel_backend($1)', [pid])
  assert.equal(await sqlTry(database.sql, 'tampered'), false, 'a cancelled nothing loses nothing')
  assert.equal(await unlock(), true)
  await createMutex.close()
})

test('a script that loses its lock while it exits is not held up', async () => {
  const { status } = await runChild('holder', ['hold', database.connectionString, 'exit'], {
    flags: ['--unhandled-rejections=strict'],
  })
  assert.equal(status, 0)
})

test('the shortest answerTimeout that there is loses nothing on a server that answers', async () => {
  const createMutex = advisoryLock(database.connectionString, { answerTimeout: 100, heartbeat: 100, applicationName: 'short' })
  const survives = async () => {
    const unlock = await createMutex('short answers').lock()
    const beats = new Set()
    await until(async () => {
      const { rows } = await database.sql.query("SELECT query_start::text FROM pg_stat_activity WHERE application_name = 'short'")
      for (const { query_start: start } of rows) beats.add(start)
      return beats.size >= 5 || unlock.signal.aborted
    }, 'five signs of life')
    return unlock().catch((error) => lost('ETIMEDOUT')(error) && 'lost')
  }
  // A server that does not get a processor for 0.1 s has not answered: most of the time it does.
  const outcomes = []
  for (let round = 0; round < 5; round++) outcomes.push(await survives().catch(({ code }) => assert.equal(code, 'ETIMEDOUT')))
  assert.ok(outcomes.filter((outcome) => outcome === true).length >= 3, String(outcomes))
  await createMutex.close()
})
