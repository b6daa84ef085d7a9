// A lock that is gone when its end is to be confirmed: whoever gives it up is told so, and so is everybody who listens for a loss.

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { openDatabase, until } from './support/database.mjs'
import { untilOver, watch } from './support/election.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
const bouncer = await startPgBouncer(database.connectionString, 'transaction', { default_pool_size: 8 })
after(bouncer.stop)

const ways = {
  direct: [database.connectionString, {}],
  pooled: [bouncer.connectionString, { transactionPooling: true }],
}
for (const [way, [connectionString, options]] of Object.entries(ways)) {
  for (const [contract, subject] of Object.entries({ 'contract 1': advisoryLock, 'contract 2': contract2 })) {
    /** An owner, and what ends its connections while the answers to what it has asked are on their way. */
    async function prepare(t) {
      const proxy = await startProxy(connectionString)
      t.after(proxy.close)
      const createMutex = subject(proxy.connectionString, options)
      t.after(() => createMutex.close())
      const cutBeforeTheAnswer = async (end) => {
        proxy.holdAnswers()
        const ending = end()
        // What was asked goes out with the end of the turn.
        await new Promise((resolve) => setImmediate(resolve))
        proxy.cut()
        return ending
      }
      return { createMutex, cutBeforeTheAnswer }
    }

    const toAlone = (createMutex) => createMutex('alone')
    const toSeveral = (createMutex) => createMutex.all(['a', 'b', 'c'])
    const toPermits = (createMutex) => createMutex.semaphore('pool', 2)
    const byFunction = (mutex, unlock) => unlock()
    const byMutex = (mutex) => mutex.unlock()
    const kinds = {
      lock: [toAlone, 'lock', byFunction],
      'lock(), unlock': [toAlone, 'lock', byMutex],
      lockShared: [toAlone, 'lockShared', byFunction],
      'all().lock': [toSeveral, 'lock', byFunction],
      'all().lock(), unlock': [toSeveral, 'lock', byMutex],
      ...(way === 'direct' && { 'semaphore().lock': [toPermits, 'lock', byFunction], 'semaphore().lock(), unlock': [toPermits, 'lock', byMutex] }),
    }
    for (const [kind, [toMutex, lock, giveUp]] of Object.entries(kinds)) {
      test(`${contract}, ${way}: ${kind}()`, async (t) => {
        const { createMutex, cutBeforeTheAnswer } = await prepare(t)
        const mutex = toMutex(createMutex)
        const [events, errors, published] = [[], [], []]
        const note = (message) => published.push(message.error)
        subscribe('advisory-lock:lost', note)
        t.after(() => unsubscribe('advisory-lock:lost', note))
        createMutex.client?.on('error', (error) => errors.push(error))
        const unlock = await mutex[lock]()
        unlock.signal.addEventListener('abort', () => events.push(unlock.signal.reason))
        const reason = await cutBeforeTheAnswer(() => giveUp(mutex, unlock)).then(assert.fail, (error) => error)
        assert.equal(reason.code, 'ERR_LOCK_LOST')
        assert.equal(unlock.signal.aborted, true)
        assert.deepEqual(events, [unlock.signal.reason])
        assert.equal(unlock.signal.reason.code, 'ERR_LOCK_LOST')
        if (createMutex.client) assert.deepEqual(errors.map(({ code }) => code), ['ERR_LOCK_LOST'])
        assert.deepEqual(published.map(({ code }) => code), ['ERR_LOCK_LOST'])
        await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
        assert.equal(createMutex.stats().held, 0)
        await until(async () => (await database.lockCount()) === 0, 'nothing stays locked')
      })
    }

    test(`${contract}, ${way}: an election`, async (t) => {
      const { createMutex, cutBeforeTheAnswer } = await prepare(t)
      const election = createMutex('seat').elect(untilOver)
      const seen = watch(election)
      await once(election, 'elected')
      await cutBeforeTheAnswer(election.stop)
      assert.deepEqual(seen.names(), ['standby', 'elected', 'lost'])
      assert.deepEqual(seen.codes('lost'), ['ERR_LOCK_LOST'])
    })

    test(`${contract}, ${way}: withLock() rejects with it, or with what its function has thrown`, async (t) => {
      for (const thrown of [undefined, new Error('on purpose')]) {
        const { createMutex, cutBeforeTheAnswer } = await prepare(t)
        let begin
        let finish
        const begun = new Promise((resolve) => (begin = resolve))
        const running = createMutex('scoped').withLock(async () => {
          begin()
          await new Promise((resolve) => (finish = resolve))
          if (thrown) throw thrown
        })
        await begun
        const reason = await cutBeforeTheAnswer(async () => {
          finish()
          return running
        }).then(assert.fail, (error) => error)
        if (thrown) assert.equal(reason, thrown)
        else assert.equal(reason.code, 'ERR_LOCK_LOST')
      }
    })
  }
}
