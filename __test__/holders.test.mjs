// Additions to both contracts: who holds a lock, and single 64-bit keys.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until, untilSeen } from './support/database.mjs'

const server = await startServer({ max_prepared_transactions: 2 })
after(() => server.stop())
const database = await openDatabase(server)
const { connectionString } = database

/** Who holds and who waits, once all three are seen: between two turns a wait is in no queue for a moment. */
const allThree = (mutex) => untilSeen(mutex.holders, (uses) => uses.length === 3, 'all three are seen')

for (const [contract, subject] of [
  ['contract 1', advisoryLock],
  ['contract 2', contract2],
]) {
  const here = subject(connectionString, { applicationName: `here, ${contract}` })
  const there = subject(connectionString, { applicationName: `there, ${contract}` })

  test(`${contract}: holders lists who holds a lock and who waits for it`, async () => {
    const name = `holders, ${contract}`
    const mutex = here(name)
    assert.deepEqual(await mutex.holders(), [])
    const before = Date.now()
    const shared = await mutex.lockShared()
    await sqlLock(database.sql, name, '_shared')
    const waiting = there(name).lock()
    await database.waiter(name)
    const holders = await allThree(mutex)
    assert.deepEqual(
      holders.map(({ applicationName, mode, granted }) => `${applicationName}: ${mode}, ${granted}`).toSorted(),
      [`here, ${contract}: shared, true`, 'plain client: shared, true', `there, ${contract}: exclusive, false`],
    )
    assert.equal(holders[2].granted, false, 'waiters come last')
    assert.ok(holders[2].waitingSince instanceof Date)
    assert.ok(Math.abs(holders[2].waitingSince.getTime() - before) < 60_000)
    for (const holder of holders) {
      assert.ok(Number.isInteger(holder.pid) && holder.pid > 0)
      const begin = await database.value('SELECT backend_start FROM pg_stat_activity WHERE pid = $1', [holder.pid])
      assert.equal(holder.connectedSince.getTime(), begin.getTime())
      assert.equal(holder.clientAddress, await database.value('SELECT host(inet_client_addr())'))
      if (holder.granted) assert.equal(holder.waitingSince, null)
    }
    // But for a turn of the wait that has begun meanwhile.
    const lasting = (uses) => uses.map((use) => ({ ...use, waitingSince: null }))
    assert.deepEqual(lasting(await allThree(there(name))), lasting(holders), 'the same from anywhere')
    await shared()
    await sqlUnlock(database.sql, name, '_shared')
    await (
      await waiting
    )()
    assert.deepEqual(await mutex.holders(), [])
  })

  test(`${contract}: a bigint is a single 64-bit key`, async () => {
    for (const key of [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 0x1_8000_0000n, -0x1_0000_0001n]) {
      const { lock, tryLockShared, unlockShared, holders } = here(key)
      const unlock = await lock()
      assert.equal((await holders()).length, 1)
      const { rows } = await database.sql.query('SELECT pg_try_advisory_lock($1) AS free', [String(key)])
      assert.equal(rows[0].free, false, `${key}`)
      assert.equal(Boolean(await there(key).tryLock()), false)
      await unlock()
      const waiting = there(key).lock()
      await (
        await waiting
      )()
      assert.ok(await tryLockShared())
      await unlockShared()
    }
  })

  test(`${contract}: a wait for a single key goes to the server's queue, and a batch may have both kinds`, async () => {
    await database.sql.query('SELECT pg_advisory_lock(7)')
    const waiting = here(7n).lock()
    await until(async () => (await here(7n).holders()).length === 2, 'it waits')
    const unlocks = await Promise.all([here(8n).lock(), here([0, 8]).lock(), here(9n).lockShared(), here('x').lock()])
    await Promise.all(unlocks.map((unlock) => unlock()))
    await database.sql.query('SELECT pg_advisory_unlock(7)')
    await (
      await waiting
    )()
  })

  test(`${contract}: a bigint and a pair of the same bits are two locks`, async () => {
    const unlock = await here([0, 1]).lock()
    const other = await there(1n).lock()
    assert.deepEqual((await here(1n).holders()).map(({ applicationName }) => applicationName), [`there, ${contract}`])
    await unlock()
    await other()
    assert.equal(await sqlTry(database.sql, [0, 1]), true)
  })
}

test('a prepared transaction that holds a lock is told of by its name, and nothing of the process is lost by that', async (t) => {
  const [high, low] = advisoryLock.strToKey('prepared')
  const client = await database.client()
  await client.query('BEGIN')
  await client.query('SELECT pg_advisory_xact_lock_shared($1, $2)', [high, low])
  await client.query(`PREPARE TRANSACTION 'it''s "one"'`)
  let isOpen = true
  const rollBack = async () => {
    if (isOpen) await client.query(`ROLLBACK PREPARED 'it''s "one"'`)
    isOpen = false
  }
  t.after(rollBack)
  const locks = contract2(connectionString, { applicationName: 'beside' })
  t.after(() => locks.close())
  const innocent = await locks('innocent').lock()
  const shared = await locks('prepared').lockShared()
  const [prepared, session] = (await locks('prepared').holders()).toSorted((one, other) => Number(one.pid !== null) - Number(other.pid !== null))
  assert.deepEqual(prepared, {
    pid: null, applicationName: null, clientAddress: null, mode: 'shared', granted: true, waitingSince: null, connectedSince: null,
    preparedTransaction: `it's "one"`,
  })
  assert.deepEqual([session.applicationName, session.preparedTransaction], ['beside', null])
  assert.ok(session.pid > 0)
  await innocent.verify()
  await shared()
  assert.equal(await locks('prepared').tryLock(), undefined)

  // An owner that holds it shared, too, waits for the transaction and holds on to what it has.
  const upgrading = advisoryLock(connectionString, { applicationName: 'upgrading' })
  t.after(() => upgrading.close())
  const held = await upgrading('prepared').lockShared()
  await assert.rejects(upgrading('prepared').lock({ timeout: 300 }), { code: 'ERR_LOCK_TIMEOUT' })
  assert.equal(held.signal.aborted, false)
  const exclusive = upgrading('prepared').lock()
  await rollBack()
  await (
    await exclusive
  )()
  await held()
  await innocent()
  assert.deepEqual(await locks('prepared').holders(), [])
})

test('a prepared transaction is told of whatever its name is in whatever encoding', async (t) => {
  for (const [encoding, literal, name] of [
    ['SQL_ASCII', String.raw`E'g\xe9\xff'`, 'g\uFFFD\uFFFD'],
    ['SQL_ASCII', String.raw`E'g\xc3\xa9'`, 'gé'],
    // No letter has this byte.
    ['WIN1251', String.raw`E'g\x98'`, 'g\uFFFD'],
    ['WIN1251', String.raw`E'g\\\xe9'`, 'g\\й'],
    ['LATIN1', String.raw`E'g\xe9'`, 'gé'],
    ['UTF8', String.raw`E'\\xe9 g\xc3\xa9'`, '\\xe9 gé'],
  ]) {
    const url = Object.assign(new URL(connectionString), { pathname: '/encoded' }).href
    await database.sql.query(`CREATE DATABASE encoded ENCODING '${encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`)
    t.after(() => database.sql.query('DROP DATABASE IF EXISTS encoded WITH (FORCE)'))
    const client = await database.client(url)
    await client.query(`SET client_encoding TO '${encoding}'; BEGIN; SELECT pg_advisory_xact_lock(99); PREPARE TRANSACTION ${literal}`)
    const locks = advisoryLock(url)
    const held = await locks('beside').lock()
    try {
      assert.deepEqual((await locks(99n).holders()).map(({ preparedTransaction }) => preparedTransaction), [name])
    } finally {
      await client.query(`ROLLBACK PREPARED ${literal}`)
    }
    assert.deepEqual(await locks(99n).holders(), [])
    assert.equal(await held(), true)
    await locks.close()
    await client.end()
    await database.sql.query('DROP DATABASE encoded')
  }
})

test('holders rejects where the server cannot be asked', async () => {
  const { holders } = advisoryLock('postgres://u@127.0.0.1:1/x')('x')
  await assert.rejects(holders(), { code: 'ECONNREFUSED' })
  await assert.rejects(advisoryLock('mysql://u@h/x')('x').holders(), { code: 'ERR_INVALID_URL' })
})

test('one signal may limit any number of waits', async () => {
  const warnings = []
  const listen = (warning) => warnings.push(warning.name)
  process.on('warning', listen)
  const unlock = await advisoryLock(connectionString)('many waits').lock()
  const controller = new AbortController()
  const waits = Array.from({ length: 50 }, () => advisoryLock(connectionString)('many waits').lock({ signal: controller.signal }))
  controller.abort(new Error('enough'))
  const ends = await Promise.allSettled(waits)
  assert.ok(ends.every(({ reason }) => reason === controller.signal.reason))
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', listen)
  assert.deepEqual(warnings, [])
  await unlock()
})
