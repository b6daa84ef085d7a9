// Time limits and aborts in whatever state a wait is: it ends at once, and leaves nothing behind.

import assert from 'node:assert/strict'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { startProxy } from './support/proxy.mjs'
import { choices } from './support/random.mjs'

const database = await openDatabase()
const reason = new Error('changed my mind')

/** Makes one wait, in the state that `ready` awaits, for each way to end it; each has to end by its own limit. */
async function endsEachWay(start, ready) {
  for (const method of ['lock', 'lockShared']) {
    const controller = new AbortController()
    const cancelled = assert.rejects(start()[method]({ signal: controller.signal }), (error) => error === reason)
    await ready()
    controller.abort(reason)
    await cancelled
    await assert.rejects(start()[method]({ timeout: 50 }), { name: 'AdvisoryLockError', code: 'ERR_LOCK_TIMEOUT' })
    await assert.rejects(start()[method]({ signal: AbortSignal.timeout(50) }), { name: 'TimeoutError' })
  }
}

const nothingIsLocked = () => until(async () => (await database.lockCount()) === 0, 'nothing is locked or awaited')

test('a wait for a connection that does not come', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  proxy.silence()
  const createMutex = advisoryLock(proxy.connectionString)
  await endsEachWay(() => createMutex('connecting'), turn)
  proxy.heal()
  assert.equal(await createMutex('connecting').withLock(() => 'works'), 'works')
  await createMutex.close()
  await nothingIsLocked()
})

test('a wait for an answer that does not come', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString)
  const unlock = await createMutex('another').lock()
  proxy.silence()
  await endsEachWay(() => createMutex('answer'), turn)
  proxy.heal()
  // What the server has granted by then is given back.
  await until(async () => (await sqlTry(database.sql, 'answer')) === true, 'nobody holds what nobody awaits')
  assert.equal(await unlock(), true)
  await createMutex.close()
  await nothingIsLocked()
})

test('a wait for another owner in this process', async () => {
  const unlock = await advisoryLock(database.connectionString)('here').lock()
  const createMutex = advisoryLock(database.connectionString)
  await endsEachWay(() => createMutex('here'), turn)
  assert.equal((await database.locks('here')).length, 1, 'the server has not heard of it')
  await unlock()
  await createMutex.close()
  await nothingIsLocked()
})

test('a wait in the queue of the server', async () => {
  await sqlLock(database.sql, 'queue')
  const createMutex = advisoryLock(database.connectionString)
  await endsEachWay(
    () => createMutex('queue'),
    () => database.waiter('queue'),
  )
  await database.noWaiter('queue')
  await sqlUnlock(database.sql, 'queue')
  await createMutex.close()
  await nothingIsLocked()
})

test('a wait in batched retry', async () => {
  const names = ['queued', 'retried']
  for (const name of names) await sqlLock(database.sql, name)
  const createMutex = advisoryLock(database.connectionString, { applicationName: 'retries', maxWaitConnections: 1 })
  const queued = createMutex('queued').lock()
  await database.waiter('queued')
  const tries = () => database.value("SELECT max(query_start)::text FROM pg_stat_activity WHERE application_name = 'retries' AND query ~ 'try'")
  await endsEachWay(
    () => createMutex('retried'),
    async () => {
      const before = await tries()
      await until(async () => (await tries()) !== before, 'it is tried again')
    },
  )
  for (const name of names) await sqlUnlock(database.sql, name)
  await (
    await queued
  )()
  assert.equal(await createMutex('retried').tryLock(), true)
  await createMutex.close()
  await nothingIsLocked()
})

test('100 waits whose time is over in the moment of their grant', async () => {
  const blocker = await database.client()
  const outcomes = { granted: 0, ended: 0 }
  // The time between the end of the limit and the release, nearer to the border with every round, in steps that grow on the way there.
  let advance = 0
  let step = 0.1
  let last
  for (let round = 0; round < 100; round++) {
    await sqlLock(blocker, 'moment')
    const begin = performance.now()
    const wait = advisoryLock(database.connectionString)('moment').lock({ timeout: 60 })
    const outcome = wait.then(
      async (unlock) => {
        assert.equal(await sqlTry(database.sql, 'moment'), false, 'granted is granted')
        assert.equal(await unlock(), true)
        return 'granted'
      },
      (error) => {
        assert.equal(error.code, 'ERR_LOCK_TIMEOUT')
        return 'ended'
      },
    )
    // A busy machine may end it before it is in the queue.
    let isOver = false
    outcome.then(() => (isOver = true), () => (isOver = true))
    await until(async () => isOver || (await database.locks('moment')).some(({ granted }) => !granted), 'it waits')
    while (performance.now() < begin + 60 - advance) await turn()
    await sqlUnlock(blocker, 'moment')
    const which = await outcome
    outcomes[which]++
    step = which === last ? Math.min(2 * step, 2) : 0.1
    advance += which === 'granted' ? -step : step
    last = which
    await nothingIsLocked()
  }
  assert.ok(outcomes.granted > 10 && outcomes.ended > 10, JSON.stringify(outcomes))
})

test('10,000 random cancels against random grants', { timeout: 120_000 }, async () => {
  const { between, chance, pick } = choices(20_261)
  const names = [...'abcdef']
  const applicationName = 'random'
  const connectionString = `${database.connectionString}?application_name=${applicationName}`
  // One process's connections with room to wait, and those of another one without.
  const clients = [{}, { maxWaitConnections: 1 }].flatMap((options) =>
    Array.from({ length: 24 }, () => advisoryLock(connectionString, options)),
  )
  const inside = new Map(names.map((name) => [name, { exclusive: 0, shared: 0 }]))
  const pause = async () => {
    if (chance(50)) await sleep(between(0, 3))
    else for (let turns = between(0, 5); turns > 0; turns--) await turn()
  }
  const hold = async (name, mode) => {
    const { exclusive, shared } = inside.get(name)
    assert.equal(mode === 'exclusive' ? exclusive + shared : exclusive, 0, 'nobody is let in twice')
    inside.get(name)[mode]++
    await pause()
    inside.get(name)[mode]--
  }
  let cancelled = 0
  let granted = 0
  const enough = () => cancelled >= 10_000 && granted >= 1000
  const once = async (createMutex) => {
    const name = pick(names)
    const mode = chance(70) ? 'exclusive' : 'shared'
    const controller = new AbortController()
    const limit = chance(30) ? { timeout: between(0, 4) } : { signal: controller.signal }
    const wait = createMutex(name)[mode === 'exclusive' ? 'lock' : 'lockShared'](limit)
    const outcome = wait.then(
      async (unlock) => {
        granted++
        await hold(name, mode)
        assert.equal(await unlock(), true)
      },
      (error) => {
        cancelled++
        assert.ok(error === reason || error.code === 'ERR_LOCK_TIMEOUT', error)
      },
    )
    await pause()
    controller.abort(reason)
    await outcome
  }
  const plain = async () => {
    const client = await database.client()
    while (!enough()) {
      const name = pick(names)
      await sqlLock(client, name)
      await hold(name, 'exclusive')
      await sqlUnlock(client, name)
    }
  }
  const ours = clients.map(async (createMutex) => {
    while (!enough()) await once(createMutex)
  })
  await Promise.all([...ours, plain(), plain()])
  await nothingIsLocked()
  await Promise.all(clients.map((createMutex) => createMutex.close()))
  const connections = () => database.value('SELECT count(*)::int FROM pg_stat_activity WHERE application_name = $1', [applicationName])
  await until(async () => (await connections()) === 0, 'no connection is left')
})
