// What node:diagnostics_channel tells of locks, in both contracts, and in whose asynchronous context.

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'

const database = await openDatabase()
const caller = new AsyncLocalStorage()
const parts = ['start', 'end', 'asyncStart', 'asyncEnd', 'error']
const entries = { 'contract 1': advisoryLock, 'contract 2': contract2 }

/** Collects what a tracing channel tells until the test is over: the part, what it says at that moment, and the caller's store. */
function trace(t, name) {
  const told = []
  const handlers = Object.fromEntries(
    parts.map((part) => [part, (context) => told.push({ part, ...context, context, store: caller.getStore() })]),
  )
  tracingChannel(name).subscribe(handlers)
  t.after(() => tracingChannel(name).unsubscribe(handlers))
  return told
}

/** The same of a plain channel. */
function listen(t, name) {
  const told = []
  const listener = (message) => told.push(message)
  subscribe(name, listener)
  t.after(() => unsubscribe(name, listener))
  return told
}

function owner(t, entry, options) {
  const createMutex = entry(database.connectionString, options)
  t.after(() => createMutex.close())
  return createMutex
}

const ends = (told) => told.filter(({ part }) => part === 'asyncEnd')
const isSpan = (value) => assert.ok(typeof value === 'number' && value >= 0 && value < 60_000, String(value))

for (const [title, entry] of Object.entries(entries)) {
  test(`an acquire and its hold: ${title}`, async (t) => {
    const acquires = trace(t, 'advisory-lock:acquire')
    const holds = trace(t, 'advisory-lock:hold')
    const createMutex = owner(t, entry)
    const mutex = createMutex('traced')
    const unlock = await mutex.lock()
    assert.deepEqual(acquires.map(({ part }) => part), ['start', 'end', 'asyncStart', 'asyncEnd'])
    assert.ok(acquires.every(({ context }) => context === acquires[0].context), 'one object from start to end')
    const { name, key, mode, waited, outcome } = acquires[3]
    assert.deepEqual({ name, key, mode, outcome }, { name: 'traced', key: advisoryLock.strToKey('traced'), mode: 'exclusive', outcome: 'granted' })
    isSpan(waited)
    assert.deepEqual([acquires[0].waited, acquires[0].outcome], [undefined, undefined], 'not known at the start')
    assert.deepEqual(holds.map(({ part }) => part), ['start', 'end'], 'it is held')
    assert.equal(holds[0].waited, waited)
    await unlock()
    await until(() => ends(holds).length === 1, 'the end of the hold')
    const end = ends(holds)[0]
    assert.deepEqual([end.name, end.key, end.mode, end.outcome], ['traced', key, 'exclusive', 'released'])
    isSpan(end.held)
    assert.ok(!holds.some(({ part }) => part === 'error'))
  })

  test(`a fenced lock is granted as a whole: ${title}`, async (t) => {
    const createMutex = owner(t, entry)
    const former = await createMutex('fenced').lock({ fencing: true })
    const client = await database.client()
    await client.query('BEGIN')
    await client.query(former.fence)
    await former()
    const acquires = trace(t, 'advisory-lock:acquire')
    const holds = trace(t, 'advisory-lock:hold')
    const losses = listen(t, 'advisory-lock:lost')
    const waiting = () => until(async () => (await database.value("SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")) > 0, 'it waits')
    // All that is left is what the transaction holds.
    const over = () => until(async () => (await database.lockCount()) === 1, 'nothing is left of the one before')
    const mutexes = [createMutex('fenced'), createMutex.all(['fenced', 'beside'])]
    for (const mutex of mutexes) {
      for (const take of [(limits) => mutex.lock(limits), (limits) => mutex.withLock(() => {}, limits)]) {
        await over()
        const controller = new AbortController()
        const asking = assert.rejects(take({ fencing: true, signal: controller.signal }), { name: 'AbortError' })
        await waiting()
        assert.deepEqual(acquires.map(({ part }) => part), ['start', 'end'], 'it has not been granted')
        controller.abort()
        await asking
        assert.deepEqual(ends(acquires).map(({ outcome }) => outcome), ['aborted'])
        await assert.rejects(take({ fencing: true, timeout: 20 }), { code: 'ERR_LOCK_TIMEOUT' })
        assert.deepEqual(ends(acquires).map(({ outcome }) => outcome), ['aborted', 'timeout'])
        await over()
        const lost = assert.rejects(take({ fencing: true }), { code: 'ERR_LOCK_LOST' })
        await waiting()
        await database.terminate('fenced')
        await lost
        assert.deepEqual(ends(acquires).map(({ outcome }) => outcome), ['aborted', 'timeout', 'failed'])
        acquires.length = 0
      }
    }
    assert.deepEqual([holds, losses], [[], []], 'nobody has held it')
    await client.query('ROLLBACK')
    await client.end()
    for (const mutex of mutexes) {
      await (await mutex.lock({ fencing: true }))()
      assert.equal(ends(acquires).at(-1).outcome, 'granted')
    }
    assert.deepEqual(acquires.filter(({ part }) => part === 'start').length, 2, 'each is told once')
    await until(() => ends(holds).length === 2, 'the ends of the holds')
  })

  test(`an abort by the error of another lock is an abort: ${title}`, async (t) => {
    const acquires = trace(t, 'advisory-lock:acquire')
    const createMutex = owner(t, entry)
    const unlock = await owner(t, entry)('taken').lock()
    const timeout = await createMutex('taken').lock({ timeout: 1 }).catch((error) => error)
    const controller = new AbortController()
    const waiting = assert.rejects(createMutex('taken').lock({ signal: controller.signal }), (error) => error === timeout)
    controller.abort(timeout)
    await waiting
    assert.deepEqual(ends(acquires).map(({ outcome }) => outcome), ['granted', 'timeout', 'aborted'])
    await unlock()
  })

  test(`outcomes that are none: ${title}`, async (t) => {
    const acquires = trace(t, 'advisory-lock:acquire')
    const holds = trace(t, 'advisory-lock:hold')
    const createMutex = owner(t, entry)
    await sqlLock(database.sql, 'taken')
    t.after(() => sqlUnlock(database.sql, 'taken'))
    const { lock, tryLock, lockShared } = createMutex('taken')
    const outcomes = () => ends(acquires).map(({ outcome }) => outcome)
    await tryLock()
    assert.deepEqual(outcomes(), ['denied'])
    assert.ok(!acquires.some(({ part }) => part === 'error'), 'to be denied is no error')
    const stop = new AbortController()
    await assert.rejects(lock({ timeout: 20 }), { code: 'ERR_LOCK_TIMEOUT' })
    await assert.rejects(lockShared({ timeout: 0 }), { code: 'ERR_LOCK_TIMEOUT' })
    assert.deepEqual(outcomes(), ['denied', 'timeout', 'timeout'])
    assert.equal(ends(acquires)[2].mode, 'shared')
    const reason = new Error('enough')
    const aborted = assert.rejects(lock({ signal: stop.signal }), (error) => error === reason)
    stop.abort(reason)
    await aborted
    assert.equal(outcomes()[3], 'aborted')
    assert.equal(acquires.findLast(({ part }) => part === 'error').context.error, reason)
    await createMutex.close()
    await assert.rejects(lock(), { code: 'ERR_CLIENT_CLOSED' })
    assert.equal(outcomes()[4], 'failed')
    assert.equal(holds.length, 0)
  })

  test(`names, keys, modes and permits: ${title}`, async (t) => {
    const acquires = trace(t, 'advisory-lock:acquire')
    const holds = trace(t, 'advisory-lock:hold')
    const createMutex = owner(t, entry)
    await createMutex([1, -2]).withLockShared()
    await createMutex(-5n).withLock(() => 1)
    await createMutex('here').tryWithLock(() => 1)
    await createMutex.all(['b', [3, 4], 'a']).withLock()
    await createMutex.semaphore('pool', 2).withLock()
    const key = advisoryLock.strToKey
    const expected = [
      { name: null, key: [1, -2], mode: 'shared' },
      { name: null, key: -5n, mode: 'exclusive' },
      { name: 'here', key: key('here'), mode: 'exclusive' },
      { name: ['b', null, 'a'], key: [key('b'), [3, 4], key('a')], mode: 'exclusive' },
      { name: 'pool', key: key('pool'), mode: 'permit' },
    ]
    const subjects = (told) => told.map(({ name, key: its, mode }) => ({ name, key: its, mode }))
    assert.deepEqual(subjects(ends(acquires)), expected)
    await until(() => ends(holds).length === 5, 'the ends of the holds')
    assert.deepEqual(subjects(ends(holds)), expected)
    assert.ok(ends(holds).every(({ outcome }) => outcome === 'released'))
  })

  test(`subscribers run in the context of the caller: ${title}`, async (t) => {
    const acquires = trace(t, 'advisory-lock:acquire')
    const holds = trace(t, 'advisory-lock:hold')
    const createMutex = owner(t, entry)
    await sqlLock(database.sql, 'later')
    const work = Array.from({ length: 5 }, (_, number) =>
      caller.run(`caller ${number}`, async () => {
        // Waits on the server, behind each other, and is tried.
        const unlock = await createMutex(number < 3 ? 'later' : `free ${number}`).lock()
        assert.equal(caller.getStore(), `caller ${number}`)
        // Ended elsewhere.
        return unlock
      }),
    )
    await database.waiter('later')
    await sqlUnlock(database.sql, 'later')
    for (const one of work) await caller.run('whoever ends it', async () => (await one)())
    await until(() => ends(holds).length === 5, 'the ends of the holds')
    for (const told of [acquires, holds]) {
      for (const context of new Set(told.map((one) => one.context))) {
        const stores = new Set(told.filter((one) => one.context === context).map(({ store }) => store))
        assert.equal(stores.size, 1, [...stores].join())
      }
      assert.deepEqual(new Set(told.map(({ store }) => store)), new Set([0, 1, 2, 3, 4].map((number) => `caller ${number}`)))
    }
  })

  test(`a loss: ${title}`, async (t) => {
    const holds = trace(t, 'advisory-lock:hold')
    const losses = listen(t, 'advisory-lock:lost')
    const sessions = listen(t, 'advisory-lock:session')
    const createMutex = owner(t, entry)
    const single = await createMutex('lost').lock()
    const pair = await createMutex.all(['lost too', 'and this']).lock()
    const permit = await createMutex.semaphore('lost pool', 1).lock()
    const unlocks = [single, pair, permit]
    const told = Promise.all(unlocks.map(({ signal }) => signal.aborted || once(signal, 'abort')))
    const [{ pid }] = await database.locks('lost')
    await database.terminate('lost')
    await told
    await until(() => ends(holds).length === 3, 'the ends of the holds')
    for (const { outcome, context, held } of ends(holds)) {
      assert.equal(outcome, 'lost')
      assert.equal(context.error.code, 'ERR_LOCK_LOST')
      isSpan(held)
    }
    assert.deepEqual(new Set(losses.map(({ name }) => String(name))), new Set(['lost', 'lost too,and this', 'lost pool']))
    assert.equal(losses.length, 3, 'each once')
    assert.ok(losses.every(({ error }) => error.code === 'ERR_LOCK_LOST' && error.cause.code === '57P01'))
    const news = () => sessions.filter((one) => one.pid === pid && one.event === 'lost')
    await until(() => news().length === 1, 'news of the session')
    assert.deepEqual([String(news()[0].port), news()[0].error.code], [new URL(database.connectionString).port, '57P01'])
    for (const unlock of unlocks) await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
    assert.equal(losses.length, 3, 'and not again by who is told')
  })

  test(`what is given up with its owner: ${title}`, async (t) => {
    const holds = trace(t, 'advisory-lock:hold')
    const createMutex = owner(t, entry)
    await createMutex('one').lock()
    await createMutex.all(['two', 'three']).lock()
    await createMutex.semaphore('four', 1).lock()
    await createMutex.close()
    await until(() => ends(holds).length === 3, 'the ends of the holds')
    assert.ok(ends(holds).every(({ outcome }) => outcome === 'released'))
  })

  test(`an election: ${title}`, async (t) => {
    const elected = listen(t, 'advisory-lock:elected')
    const acquires = trace(t, 'advisory-lock:acquire')
    const createMutex = owner(t, entry)
    const election = caller.run('candidate', () => createMutex('seat').elect(async ({ signal }) => signal.aborted || once(signal, 'abort')))
    await once(election, 'elected')
    assert.equal(elected.length, 1)
    const [{ name, key, mode, term }] = elected
    assert.deepEqual({ name, key, mode }, { name: 'seat', key: advisoryLock.strToKey('seat'), mode: 'exclusive' })
    assert.equal(term.signal.aborted, false)
    assert.deepEqual(ends(acquires).map(({ outcome, store }) => [outcome, store]), [['granted', 'candidate']])
    await election.stop()
  })
}

test('sessions: opened, closed, and not to be had', async (t) => {
  const told = listen(t, 'advisory-lock:session')
  const createMutex = owner(t, advisoryLock, { applicationName: 'news of sessions' })
  await createMutex('x').withLock()
  const pid = await database.value(`SELECT pid FROM pg_stat_activity WHERE application_name = 'news of sessions'`)
  const own = () => told.filter((one) => one.pid === pid)
  await until(() => own().length === 1, 'news of the session')
  const { hostname, port } = new URL(database.connectionString)
  const [opened] = own()
  assert.deepEqual(opened, { event: 'opened', pid, address: opened.address, port: Number(port), error: null })
  assert.ok(['127.0.0.1', '::1', hostname].includes(opened.address), opened.address)
  await createMutex.close()
  await until(() => own().length === 2, 'news of its end')
  assert.deepEqual(own()[1], { ...opened, event: 'closed' })

  const reason = new Error('no token')
  for (const give of [() => Promise.reject(reason), () => 'a wrong secret']) {
    const nowhere = new URL(database.connectionString)
    const failing = advisoryLock({ host: nowhere.hostname, port: Number(nowhere.port), user: nowhere.username, database: 'postgres', password: give })
    await failing('x').tryLock().then(assert.fail, () => {})
    await failing.close()
  }
  const failed = () => told.filter(({ event }) => event === 'failed')
  await until(() => failed().length === 2, 'news of failures')
  assert.deepEqual(failed().map(({ pid: none }) => none), [null, null])
  assert.equal(failed()[0].error, reason, 'the very error of the function')
  assert.equal(failed()[1].error.code, '28P01')
  assert.ok(!JSON.stringify(told).includes('secret'))
})

test('who subscribes while a lock is held or awaited is told of what begins after that', async (t) => {
  const createMutex = owner(t, contract2)
  const unlock = await createMutex('before').lock()
  const wait = createMutex('before').lock()
  const acquires = trace(t, 'advisory-lock:acquire')
  const holds = trace(t, 'advisory-lock:hold')
  await unlock()
  await (await wait)()
  await createMutex('after').withLock()
  await until(() => ends(holds).length === 1, 'the end of the hold')
  assert.deepEqual([...new Set([...acquires, ...holds].map(({ name }) => name))], ['after'])
})

test('a subscriber that throws harms no lock', async (t) => {
  const error = new Error('of a subscriber')
  const caught = []
  const onUncaught = (reason) => caught.push(reason)
  const runners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException').on('uncaughtException', onUncaught)
  t.after(() => {
    process.off('uncaughtException', onUncaught)
    for (const listener of runners) process.on('uncaughtException', listener)
  })
  const fail = () => {
    throw error
  }
  const names = ['acquire', 'hold'].flatMap((name) => parts.slice(0, 4).map((part) => `tracing:advisory-lock:${name}:${part}`))
  for (const name of names) subscribe(name, fail)
  const createMutex = owner(t, contract2)
  assert.equal(await createMutex('x').withLock(() => 7), 7)
  await until(() => caught.length === names.length, 'each throws once')
  for (const name of names) unsubscribe(name, fail)
  assert.ok(caught.every((reason) => reason === error))
})
