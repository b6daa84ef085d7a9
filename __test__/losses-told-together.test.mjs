// Locks that are lost together: whoever is told of one of them meets the truth about all others, whatever it does with them.

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { openDatabase } from './support/database.mjs'
import { untilOver } from './support/election.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
const LOST = { code: 'ERR_LOCK_LOST' }
const codeOf = (promise) => promise.then((value) => `resolved to ${value}`, ({ code }) => code)

for (const [contract, subject] of Object.entries({ 'contract 1': advisoryLock, 'contract 2': contract2 })) {
  /** An owner, and what ends its connections. */
  async function prepare(t) {
    const proxy = await startProxy(database.connectionString)
    t.after(proxy.close)
    const createMutex = subject(proxy.connectionString)
    t.after(() => createMutex.close())
    return { createMutex, cut: proxy.cut }
  }

  const kinds = {
    lock: (createMutex, name) => createMutex(name).lock(),
    lockShared: (createMutex, name) => createMutex(name).lockShared(),
    'all().lock': (createMutex, name) => createMutex.all([name, `${name} too`]).lock(),
    'semaphore().lock': (createMutex, name) => createMutex.semaphore(name, 2).lock(),
  }
  for (const [kind, lock] of Object.entries(kinds)) {
    test(`${contract}: ${kind}() is given up by a listener of a lock that was lost with it`, async (t) => {
      const { createMutex, cut } = await prepare(t)
      const first = await createMutex('first').lock()
      const second = await lock(createMutex, 'second')
      const events = []
      second.signal.addEventListener('abort', () => events.push(second.signal.reason))
      let seen
      first.signal.addEventListener('abort', () => {
        const [unlocking, verifying] = [codeOf(second()), codeOf(second.verify())]
        seen = { aborted: second.signal.aborted, reason: second.signal.reason, unlocking, verifying }
        assert.throws(() => second.signal.throwIfAborted(), LOST)
        // Its own listeners are told in their turn.
        assert.deepEqual(events, [])
      })
      const told = once(first.signal, 'abort')
      cut()
      await told
      assert.deepEqual(await Promise.all([seen.unlocking, seen.verifying]), [LOST.code, LOST.code])
      assert.equal(seen.aborted, true)
      assert.equal(seen.reason.code, 'ERR_LOCK_LOST')
      assert.deepEqual(events, [seen.reason])
      assert.equal(second.signal.reason, seen.reason)
    })
  }

  test(`${contract}: unlock() of a mutex by a listener of a lock that was lost with it`, async (t) => {
    const { createMutex, cut } = await prepare(t)
    const first = await createMutex('first').lock()
    const mutex = createMutex('second')
    await mutex.tryLock()
    let unlocking
    first.signal.addEventListener('abort', () => (unlocking = codeOf(mutex.unlock())))
    const told = once(first.signal, 'abort')
    cut()
    await told
    assert.equal(await unlocking, LOST.code)
  })

  test(`${contract}: an election and a withLock() are asked by a listener of a lock that was lost with them`, async (t) => {
    const { createMutex, cut } = await prepare(t)
    const first = await createMutex('first').lock()
    const election = createMutex('seat').elect(untilOver)
    const told = []
    election.on('lost', () => told.push('lost'))
    election.on('resigned', () => told.push('resigned'))
    const [term] = await once(election, 'elected')
    let scoped
    const running = createMutex('scoped').withLock(
      (signal) => {
        scoped = signal
        return new Promise(() => {})
      },
      { timeout: 10_000 },
    )
    running.catch(() => {})
    while (!scoped) await new Promise((resolve) => setImmediate(resolve))
    let seen
    first.signal.addEventListener('abort', () => (seen = [scoped.aborted]))
    // The election has a connection of its own: the loss of another lock of it comes with it.
    term.signal.addEventListener('abort', () => told.push(election.isLeader ? 'leads' : 'does not lead'))
    const both = Promise.all([once(first.signal, 'abort'), once(election, 'lost')])
    cut()
    await both
    await assert.rejects(running, LOST)
    assert.deepEqual(seen, [true])
    assert.deepEqual(told, ['does not lead', 'lost'])
  })

  test(`${contract}: a subscriber gives up what was lost with what it is told of`, async (t) => {
    const { createMutex, cut } = await prepare(t)
    const unlocks = new Map()
    for (const name of ['a', 'b', 'c']) unlocks.set(name, await createMutex(name).lock())
    const endings = []
    const onLost = ({ name }) => {
      for (const [other, unlock] of unlocks) if (other !== name) endings.push(codeOf(unlock()))
      unlocks.clear()
    }
    subscribe('advisory-lock:lost', onLost)
    t.after(() => unsubscribe('advisory-lock:lost', onLost))
    const last = unlocks.get('c')
    const told = once(last.signal, 'abort')
    cut()
    await told
    assert.deepEqual(await Promise.all(endings), [LOST.code, LOST.code])
  })

  test(`${contract}: thousands of listeners, each of which looks at all locks`, async (t) => {
    const { createMutex, cut } = await prepare(t)
    const names = Array.from({ length: 2000 }, (_, number) => `name ${number}`)
    const unlocks = await Promise.all(names.map((name) => createMutex(name).lock()))
    const counts = []
    for (const { signal } of unlocks) {
      signal.addEventListener('abort', () => counts.push(unlocks.slice(-3).filter((unlock) => unlock.signal.aborted).length))
    }
    const last = once(unlocks.at(-1).signal, 'abort')
    cut()
    await last
    assert.equal(counts.length, names.length)
    // All of them, once those on the same connection are known to be lost.
    assert.equal(counts.at(-1), 3)
  })
}
