// The server goes and comes back: in whatever state a caller is, it is told at once, and its next call works.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startProxy } from './support/proxy.mjs'

const server = await startServer()
after(() => server.stop())

/** What a caller may be told of a connection that is gone. */
const causes = {
  fast: ['57P01', 'ECONNRESET', 'ECONNREFUSED', 'EPIPE', '57P03'],
  immediate: ['57P02', 'ECONNRESET', 'ECONNREFUSED', 'EPIPE', '57P03'],
  link: ['ECONNRESET', 'ECONNREFUSED', 'EPIPE'],
}
const connectionLost = (how) => (error) => {
  assert.equal(error.name, 'AdvisoryLockError')
  assert.ok(causes[how].includes(error.code), `${error.code}: ${error.message}`)
  return true
}
const lockLost = (how) => (error) => {
  assert.equal(error.code, 'ERR_LOCK_LOST', error)
  return connectionLost(how)(error.cause)
}

for (const how of ['fast', 'immediate', 'link']) {
  test(`everybody is told: ${how === 'link' ? 'a cut link' : `${how} restart`}`, async (t) => {
    const database = await openDatabase(server)
    const proxy = await startProxy(database.connectionString)
    t.after(proxy.close)
    const connect = (options) => advisoryLock(how === 'link' ? proxy.connectionString : database.connectionString, options)
    const states = {}
    const watch = (state, promise, check) => (states[state] = assert.rejects(promise, check).then(() => performance.now()))

    const idle = connect({ idleTimeout: 60_000 })
    await idle('idle').withLock()

    const holder = connect()
    const unlock = await holder('held').lock()
    states.signal = once(unlock.signal, 'abort').then(() => performance.now())
    watch('holding', holder('inside').withLock(() => new Promise(() => {})), lockLost(how))

    const waiter = connect({ maxWaitConnections: 1 })
    for (const name of ['waiting', 'retried']) await sqlLock(database.sql, name)
    watch('waiting', waiter('waiting').lock(), connectionLost(how))
    await database.waiter('waiting')
    // Has no connection of its own: it goes on where another one can be had at once, else it fails.
    const retried = waiter('retried').lock()
    const ending = retried.then((release) => release(), connectionLost(how))
    if (how !== 'link') watch('retried', retried, connectionLost(how))
    await until(async () => (await database.locks('inside')).length === 1, 'withLock is inside')

    // A link that is silent first, so that the batch and the release are certain to be under way.
    const busy = connect({ applicationName: 'busy' })
    const release = await busy('unlocking').lock()
    if (how === 'link') {
      proxy.silence()
      watch('unlocking', release(), lockLost(how))
      watch('batch', busy('in flight').lock(), connectionLost(how))
      await new Promise((resolve) => setImmediate(resolve))
    } else {
      states.unlocking = release().then(
        () => performance.now(),
        (error) => lockLost(how)(error) && performance.now(),
      )
      states.batch = busy('in flight')
        .lock()
        .then(
          () => performance.now(),
          (error) => connectionLost(how)(error) && performance.now(),
        )
    }

    const gone = performance.now()
    proxy.cut()
    proxy.heal()
    const halted = how === 'link' ? undefined : server.halt(how)
    for (const [state, told] of Object.entries(states)) {
      assert.ok((await told) - gone < 4000, `${state}: told after ${(await told) - gone} ms`)
    }
    await halted
    if (how !== 'link') {
      await assert.rejects(idle('idle').lock(), connectionLost(how), 'while there is no server')
      await server.resume()
    } else {
      await sqlUnlock(database.sql, 'retried')
      assert.equal(await ending, true)
      await until(() => idle.stats().sessions === 0, 'the idle connection is known to be cut')
    }
    await assert.rejects(unlock(), lockLost(how))
    for (const createMutex of [idle, holder, waiter, busy]) {
      assert.equal(await createMutex('afterwards').withLock(() => 'works'), 'works')
    }
    await Promise.all([idle, holder, waiter, busy].map((createMutex) => createMutex.close()))
  })
}

test('a process full of lost locks goes on', async () => {
  const createMutex = advisoryLock(server.connectionString())
  const unlocks = await Promise.all(Array.from({ length: 2000 }, (_, index) => createMutex(`many ${index}`).lock()))
  await server.halt('immediate')
  const aborted = unlocks.map((unlock) => unlock.signal.aborted || once(unlock.signal, 'abort'))
  await Promise.all(aborted)
  for (const unlock of unlocks) await assert.rejects(unlock(), lockLost('immediate'))
  await server.resume()
  assert.equal(await createMutex('many 0').withLock(() => 'works'), 'works')
  await createMutex.close()
})
