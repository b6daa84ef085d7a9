// A process that can have one connection and no more: it waits by it, and does everything else by it as well.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { commandsOf } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()

const pick = (all) => all[Math.floor(Math.random() * all.length)]

let roles = 0
/** What becomes of the second connection: each gives a way to the server for which that is so. */
const kinds = {
  async 'is refused by the server'(t) {
    const url = new URL(database.connectionString)
    url.username = `${url.pathname.slice(1)}_${++roles}`
    url.password = 'secret'
    await database.sql.query(`CREATE ROLE ${url.username} LOGIN PASSWORD 'secret' CONNECTION LIMIT 1`)
    t.after(() => database.sql.query(`DROP ROLE ${url.username}`))
    return url.href
  },
  async 'is never answered'(t) {
    let connections = 0
    const proxy = await startProxy(database.connectionString, (near) => ++connections > 1 && near.pause())
    t.after(proxy.close)
    return proxy.connectionString
  },
  async 'is not lent by a pooler'(t) {
    const pooler = await startPgBouncer(database.connectionString, 'session', { default_pool_size: 1 })
    t.after(pooler.stop)
    return pooler.connectionString
  },
}

for (const [kind, prepare] of Object.entries(kinds)) {
  for (const [contract, subject] of [
    ['contract 1', advisoryLock],
    ['contract 2', contract2],
  ]) {
    const prefix = `${contract}, ${kind}: `
    /** All that can be done while there is something else to wait for. */
    async function everything(lock, taken) {
      const unlock = await lock('free').lock({ timeout: 8000 })
      const [holder] = await lock('free').holders()
      assert.equal(holder.granted, true)
      assert.equal(Boolean(await lock(taken).tryLock()), false)
      await unlock()
    }
    const begin = async (t, ...names) => {
      for (const name of names) await sqlLock(database.sql, prefix + name)
      t.after(() => database.sql.query('SELECT pg_advisory_unlock_all()'))
      const createMutex = subject(await prepare(t), { idleTimeout: 10_000 })
      t.after(() => createMutex.close())
      return (name) => createMutex(prefix + name)
    }
    const give = (name) => sqlUnlock(database.sql, prefix + name)

    test(`the second connection ${kind}: while it waits, while it holds what it waited for, and after it (${contract})`, async (t) => {
      const lock = await begin(t, 'taken', 'other')
      const waiting = lock('taken').lock()
      let isGranted = false
      void waiting.then(() => (isGranted = true))
      await database.waiter(`${prefix}taken`)
      await everything(lock, 'other')
      assert.equal(isGranted, false)
      await give('taken')
      const unlock = await waiting
      await everything(lock, 'other')
      if (unlock.signal) assert.equal(unlock.signal.aborted, false)
      assert.equal((await database.locks(`${prefix}taken`)).length, 1, 'it is held still')
      await unlock()
      await assert.rejects(lock('other').lock({ timeout: 300 }), { code: 'ERR_LOCK_TIMEOUT' })
      await everything(lock, 'other')
      await give('other')
      await until(async () => (await database.lockCount()) === 0, 'nothing stays locked')
    })

    test(`the second connection ${kind}: of several waits each is served (${contract})`, async (t) => {
      const names = ['one', 'two', 'three']
      const lock = await begin(t, ...names)
      const waits = names.map((name) => lock(name).lock())
      const withdrawn = assert.rejects(lock('one').lockShared({ timeout: 500 }), { code: 'ERR_LOCK_TIMEOUT' })
      await withdrawn
      for (const name of names.toReversed()) {
        await give(name)
        await (await waits[names.indexOf(name)])()
      }
      await until(async () => (await database.lockCount()) === 0, 'nothing stays locked')
    })
  }

  test(`the second connection ${kind}: withlock tells that a lock is taken`, async (t) => {
    const { run } = commandsOf(await prepare(t))
    // To find out what a pooler does takes another connection as well, for which it waits as long as an answer may take.
    const timeout = kind === 'is not lent by a pooler' ? 8 : 3
    await sqlLock(database.sql, `command, ${kind}`)
    const parameters = [`command, ${kind}`, '--timeout', String(timeout), '--conflict-exit-code', '42', '--', 'true']
    const { status, stderr } = await run('withlock', parameters)
    assert.deepEqual([status, stderr.split('\n').at(-2)], [42, `withlock: the lock was not free within ${timeout} s`])
    await sqlUnlock(database.sql, `command, ${kind}`)
  })
}

test('five with one connection each use three locks in every way: one is inside at a time, and all get in', async (t) => {
  const owners = []
  while (owners.length < 5) owners.push(await kinds['is refused by the server'](t))
  const inside = { a: 0, b: 0, c: 0 }
  const turns = owners.map(() => 0)
  const codes = new Set()
  let isOver = false
  async function use(name, index) {
    assert.equal(++inside[name], 1, 'nobody else is inside')
    if (turns[index]++ % 3 === 0) await sleep(5)
    inside[name]--
  }
  const ways = [
    async (mutex, work) => {
      const unlock = await mutex.tryLock()
      if (!unlock) return
      await work()
      await unlock()
    },
    async (mutex, work) => {
      const unlock = await mutex.lock({ timeout: 1 + Math.random() * 200 })
      await work()
      await unlock()
    },
    async (mutex, work) => {
      const unlock = await mutex.lock({ signal: AbortSignal.timeout(Math.ceil(Math.random() * 200)) })
      await work()
      await unlock()
    },
    (mutex, work) => mutex.withLock(work),
    (mutex, work) => mutex.tryWithLock(work),
    (mutex) => mutex.holders(),
  ]
  const callers = owners.flatMap((connectionString, index) => {
    const createMutex = contract2(connectionString)
    t.after(() => createMutex.close())
    return [0, 1, 2].map(async () => {
      while (!isOver) {
        const name = pick(Object.keys(inside))
        await pick(ways)(createMutex(name), () => use(name, index)).catch(({ code, name: what }) => codes.add(code ?? what))
        await sleep(Math.random() * 20)
      }
    })
  })
  await sleep(5000)
  isOver = true
  await Promise.all(callers)
  for (const code of codes) assert.ok(['ERR_LOCK_TIMEOUT', DOMException.TIMEOUT_ERR].includes(code), String(code))
  assert.ok(turns.every((count) => count > 5), String(turns))
  await until(async () => (await database.lockCount()) === 0, 'nothing stays locked')
})
