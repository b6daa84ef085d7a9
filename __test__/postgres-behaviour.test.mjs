// Facts of PostgreSQL that the design relies on, on each version that is at hand: what the manual leaves open, or what would be
// noticed too late if it changed.

import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { until } from './support/database.mjs'

/** Where Debian, and what is made of it, keeps the programs of each version. */
const DEBIAN = '/usr/lib/postgresql'
const installed = existsSync(DEBIAN) ? readdirSync(DEBIAN).map((version) => join(DEBIAN, version, 'bin')) : []
const folders = [undefined, ...installed.filter((folder) => existsSync(join(folder, 'initdb')))]

/** The one value that the statement gives. */
async function value(client, text, values) {
  const { rows } = await client.query({ text, values, rowMode: 'array' })
  return rows[0]?.[0]
}
const code = (promise) => promise.then(() => 'ok', (error) => error.code)

const facts = {
  async 'the end of a connection is seen after its locks are free'({ connect, admin }) {
    for (let round = 0; round < 100; round++) {
      const client = await connect()
      await client.query('SELECT pg_advisory_lock(n) FROM generate_series(1, 50) AS n')
      const closed = new Promise((resolve) => client.connection.stream.once('close', resolve))
      client.connection.end()
      await closed
      assert.equal(await value(admin, 'SELECT bool_and(pg_try_advisory_lock(n)) FROM generate_series(1, 50) AS n'), true)
      await admin.query('SELECT pg_advisory_unlock_all()')
    }
  },

  async 'locks of a session outlive the statement that took them and failed'({ connect }) {
    const client = await connect()
    assert.equal(await code(client.query('SELECT pg_advisory_lock(1, n), 1 / (3 - n) FROM generate_series(1, 5) AS n')), '22012')
    // Rows are worked off in order, up to the one that failed.
    assert.equal(await value(client, "SELECT array_agg(objid::int ORDER BY objid)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"), '{1,2,3}')
  },

  async 'they outlive one that was cancelled'({ connect, admin }) {
    const client = await connect()
    await admin.query('SELECT pg_advisory_lock(2, 2)')
    const pid = await value(client, 'SELECT pg_backend_pid()')
    const failed = code(client.query('SELECT pg_advisory_lock(2, n) FROM generate_series(1, 3) AS n'))
    await until(() => value(admin, "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)", [pid]), 'it waits')
    await admin.query('SELECT pg_cancel_backend($1)', [pid])
    assert.equal(await failed, '57014')
    assert.equal(await value(client, "SELECT array_agg(objid::int)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"), '{1}')
  },

  async 'a wait that ends by lock_timeout may have been granted, and pg_locks tells'({ connect, admin }) {
    const client = await connect()
    const seen = { granted: 0, refused: 0 }
    let advance = 0
    for (let round = 0; round < 60; round++) {
      await admin.query('SELECT pg_advisory_lock(3, 3)')
      const begin = performance.now()
      // The limit that a statement sets for itself holds for itself, where it comes first in its list.
      const waited = code(client.query("SELECT set_config('lock_timeout', '30', true), pg_advisory_lock(3, 3)"))
      while (performance.now() < begin + 30 - advance) await new Promise((resolve) => setImmediate(resolve))
      await admin.query('SELECT pg_advisory_unlock(3, 3)')
      const outcome = await waited
      const isHeld = await value(client, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid())")
      assert.ok(outcome === 'ok' ? isHeld : outcome === '55P03', `${outcome}, held: ${isHeld}`)
      seen[outcome === 'ok' ? 'granted' : 'refused']++
      advance += outcome === 'ok' ? -0.2 : 0.2
      await client.query('SELECT pg_advisory_unlock_all()')
    }
    assert.ok(seen.granted > 5 && seen.refused > 5, JSON.stringify(seen))
    assert.equal(await value(client, 'SHOW lock_timeout'), '0', 'and for itself only')
  },

  async 'the queue is first in, first out; who comes later does not go before'({ connect, admin }) {
    const order = []
    await admin.query('SELECT pg_advisory_lock(4, 4)')
    const waits = []
    for (const [index, mode] of ['', '', '_shared', '', '_shared'].entries()) {
      const client = await connect()
      const pid = await value(client, 'SELECT pg_backend_pid()')
      const turn = client.query(`SELECT pg_advisory_lock${mode}(4, 4)`).then(() => {
        order.push(index)
        return client.query('SELECT pg_advisory_unlock_all()')
      })
      waits.push(turn)
      await until(() => value(admin, 'SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)', [pid]), 'it is in the queue')
    }
    const late = await connect()
    assert.equal(await value(late, 'SELECT pg_try_advisory_lock_shared(4, 4)'), false, 'a try does not wait')
    await admin.query('SELECT pg_advisory_unlock(4, 4)')
    await Promise.all(waits)
    assert.deepEqual(order, [0, 1, 2, 3, 4])
  },

  async 'who holds a key exclusively has it shared at once, whoever waits'({ connect, admin }) {
    await admin.query('SELECT pg_advisory_lock(5, 5)')
    const client = await connect()
    const pid = await value(client, 'SELECT pg_backend_pid()')
    const waiting = client.query('SELECT pg_advisory_lock(5, 5)')
    await until(() => value(admin, 'SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)', [pid]), 'it waits')
    await admin.query("SET lock_timeout = '1s'")
    await admin.query('SELECT pg_advisory_lock_shared(5, 5)')
    await admin.query('RESET lock_timeout')
    assert.equal(await value(admin, 'SELECT pg_advisory_unlock(5, 5)'), true)
    assert.equal(await value(admin, 'SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)', [pid]), true, 'without a gap')
    await admin.query('SELECT pg_advisory_unlock_all()')
    await waiting
  },

  async 'a lock that is not held is not given up, and no error'({ admin }) {
    assert.equal(await value(admin, 'SELECT pg_advisory_unlock(6, 6)'), false)
  },

  async 'how pg_locks spells a key'({ connect, admin }) {
    const client = await connect()
    await client.query('SELECT pg_advisory_lock(-2, 7), pg_advisory_lock_shared(-3)')
    const { rows } = await client.query(
      `SELECT classid::text, objid::text, objsubid, mode, granted, (SELECT datname FROM pg_database WHERE oid = database) AS database
       FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY objsubid`,
    )
    const { database } = client
    assert.deepEqual(rows, [
      { classid: '4294967295', objid: '4294967293', objsubid: 1, mode: 'ShareLock', granted: true, database },
      { classid: '4294967294', objid: '7', objsubid: 2, mode: 'ExclusiveLock', granted: true, database },
    ])
    const other = await connect()
    const pid = await value(other, 'SELECT pg_backend_pid()')
    const waiting = other.query('SELECT pg_advisory_lock(-2, 7)')
    const since = () => value(admin, 'SELECT extract(epoch FROM clock_timestamp() - waitstart) FROM pg_locks WHERE pid = $1 AND NOT granted', [pid])
    await until(async () => typeof (await since()) === 'string', 'waitstart tells since when')
    await client.query('SELECT pg_advisory_unlock_all()')
    await waiting
  },

  async 'a wait keeps a snapshot, a lock keeps none'({ connect, admin }) {
    const xmin = (pid) => value(admin, 'SELECT backend_xmin IS NOT NULL FROM pg_stat_activity WHERE pid = $1', [pid])
    const client = await connect()
    const pid = await value(client, 'SELECT pg_backend_pid()')
    await client.query('SELECT pg_advisory_lock(8, 8)')
    assert.equal(await xmin(pid), false, 'a session that holds a lock')
    const waiter = await connect()
    const waiterPid = await value(waiter, 'SELECT pg_backend_pid()')
    const waiting = waiter.query('SELECT pg_advisory_lock(8, 8)')
    await until(() => value(admin, 'SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)', [waiterPid]), 'it waits')
    assert.equal(await xmin(waiterPid), true, 'a session that waits for one')
    await client.query('SELECT pg_advisory_unlock_all()')
    await waiting
    await client.query('BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY')
    await client.query('SELECT pg_try_advisory_xact_lock(8, 9)')
    assert.equal(await xmin(pid), false, 'a transaction that holds one')
  },

  async 'SET takes no snapshot, so it does not wait for what a deferrable transaction waits for'({ connect, admin }) {
    const writer = await connect()
    await admin.query('CREATE TABLE IF NOT EXISTS facts (n int)')
    await writer.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
    await writer.query('INSERT INTO facts VALUES (1)')
    const client = await connect({ options: '-c default_transaction_isolation=serializable -c default_transaction_read_only=on -c default_transaction_deferrable=on' })
    const pid = client.processID
    const waiting = code(client.query('SELECT 1'))
    await until(() => value(admin, "SELECT wait_event = 'SafeSnapshot' FROM pg_stat_activity WHERE pid = $1", [pid]), 'it waits for a safe snapshot')
    await admin.query('SELECT pg_cancel_backend($1)', [pid])
    assert.equal(await waiting, '57014')
    await client.query('SET default_transaction_deferrable = off')
    assert.equal(await value(client, 'SELECT 1'), 1)
    await writer.query('ROLLBACK')
  },

  async 'a cancel that finds nothing to be cancelled hits nothing that comes later'({ connect, admin }) {
    const client = await connect()
    const pid = await value(client, 'SELECT pg_backend_pid()')
    for (let round = 0; round < 100; round++) {
      assert.equal(await value(admin, 'SELECT pg_cancel_backend($1)', [pid]), true)
      assert.equal(await value(client, 'SELECT 1'), 1)
    }
  },

  async 'a cancel takes no effect between two functions of one expression of a block, and does so between two statements'({ connect, admin }) {
    const client = await connect()
    const pid = await value(client, 'SELECT pg_backend_pid()')
    /** How often the lock is left behind by a block that takes it and gives it back, again and again, until it is cancelled. */
    const countLeft = async (body) => {
      let count = 0
      for (let round = 0; round < 50; round++) {
        const ended = code(client.query(`DO $$ BEGIN LOOP ${body} END LOOP; END $$`))
        await until(() => value(admin, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1", [pid]), 'it runs')
        await admin.query('SELECT pg_cancel_backend($1)', [pid])
        assert.equal(await ended, '57014')
        if (await value(client, 'SELECT pg_advisory_unlock(10, 10)')) count++
      }
      return count
    }
    const [take, give] = ['pg_try_advisory_lock(10, 10)', 'pg_advisory_unlock(10, 10)']
    assert.equal(await countLeft(`IF ${take} AND ${give} THEN END IF;`), 0)
    assert.notEqual(await countLeft(`IF ${take} THEN PERFORM ${give}; END IF;`), 0)
  },

  async 'a session that is ended from outside says so before its connection ends'({ connect, admin }) {
    const client = await connect()
    const told = new Promise((resolve) => client.once('error', resolve))
    await admin.query('SELECT pg_terminate_backend($1)', [client.processID])
    assert.equal((await told).code, '57P01')
  },
}

for (const folder of folders) {
  test(`PostgreSQL of ${folder ?? 'the package'}`, async (t) => {
    const server = await startServer({}, undefined, folder)
    const clients = []
    const connect = async (more) => {
      const client = new pg.Client({ connectionString: server.connectionString(), ...more })
      client.on('error', () => {})
      await client.connect()
      clients.push(client)
      return client
    }
    t.after(async () => {
      await Promise.allSettled(clients.map((client) => client.end()))
      await server.stop()
    })
    const admin = await connect()
    t.diagnostic(await value(admin, 'SELECT version()'))
    for (const [title, fact] of Object.entries(facts)) await t.test(title, () => fact({ connect, admin }))
  })
}
