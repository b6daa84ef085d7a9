// Tokens and fences: what a hold has of its own, and which transactions it lets through.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import postgres from 'postgres'
import advisoryLock from '../index.js'
import advisoryLock2 from '../v2.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { next, untilOver } from './support/election.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { program } from './support/program.mjs'
import { startProxy } from './support/proxy.mjs'

const server = await startServer({ max_prepared_transactions: 1 })
after(() => server.stop())
const database = await openDatabase(server)
const contracts = { 'contract 1': advisoryLock, 'contract 2': advisoryLock2 }
const LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE']

function open(lib = advisoryLock, connectionString = database.connectionString, options) {
  const createMutex = lib(connectionString, options)
  after(() => createMutex.close())
  return createMutex
}

/** A transaction of somebody else's that begins with a fence, and stays open. */
async function begin(fence, level = 'READ COMMITTED', client) {
  client ??= await database.client()
  await client.query(`BEGIN ISOLATION LEVEL ${level}`)
  await client.query(fence)
  return client
}

const refused = { code: '55000', message: /^the lock .* is not held any more by the holder of this fence$/ }
const notFenced = async (fence) => {
  const client = await database.client()
  await assert.rejects(begin(fence, 'READ COMMITTED', client), refused)
  await client.end()
}

/** Until somebody waits for a gate: a lock that nobody has by name. */
const waitingAtGate = () =>
  until(async () => (await database.value("SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")) > 0, 'waiting')

/** What nobody has handled while `fn` ran, which would end the process. */
async function unhandledDuring(fn) {
  const unhandled = []
  const note = (error) => unhandled.push(error)
  process.on('unhandledRejection', note)
  await fn()
  // They are told when the microtasks have run out.
  await sleep(0)
  process.off('unhandledRejection', note)
  return unhandled
}

for (const [contract, lib] of Object.entries(contracts)) {
  test(`${contract}: a signal or a time that ends just after the grant, or anywhere, leaves nothing behind`, async () => {
    const createMutex = open(lib)
    const of = (mutex) => [(limits) => mutex.lock(limits).then((unlock) => unlock()), (limits) => mutex.withLock(() => {}, limits)]
    const asks = [...of(createMutex('ended')), ...of(createMutex.all(['ended', 'ended too']))]
    const unhandled = await unhandledDuring(async () => {
      for (const ask of asks) {
        // At each of its looks at the signal in turn; nobody is called.
        for (let look = 0, isGranted = false; !isGranted; look++) {
          let looks = 0
          const signal = { reason: new Error('ended'), addEventListener() {}, removeEventListener() {} }
          Object.defineProperty(signal, 'aborted', { get: () => ++looks > look })
          isGranted = await ask({ fencing: true, signal }).then(() => true, (error) => assert.equal(error, signal.reason))
          assert.ok(look < 50, 'it is granted at last')
        }
        // By the news of another lock, which comes with the grant.
        for (let turn = 0; turn < 5; turn++) {
          const controller = new AbortController()
          const other = createMutex('other').lock().then((unlock) => (controller.abort(), unlock()))
          await ask({ fencing: true, signal: controller.signal }).catch(({ name }) => assert.equal(name, 'AbortError'))
          await other
        }
        // The time passes while the thread is busy, as the answer arrives.
        for (let turn = 0; turn < 5; turn++) {
          const asking = ask({ fencing: true, timeout: 5 })
          const busyUntil = performance.now() + 10
          while (performance.now() < busyUntil);
          await asking.catch(({ code }) => assert.equal(code, 'ERR_LOCK_TIMEOUT'))
        }
      }
      for (let turn = 0; turn < 10; turn++) {
        const election = createMutex('elected').elect(() => {}, { fencing: true })
        const other = createMutex('other').lock().then((unlock) => (election.stop(), unlock()))
        await Promise.all([other, election.ended])
      }
    })
    assert.deepEqual(unhandled, [])
    await until(async () => (await database.lockCount()) === 0, 'nothing left locked')
  })

  test(`${contract}: a signal that fails at any step leaves nothing locked`, async () => {
    const createMutex = open(lib)
    const failure = new Error('on purpose')
    for (const mutex of [createMutex('failing'), createMutex.all(['failing', 'failing too'])]) {
      for (let step = 0, isGranted = false; !isGranted; step++) {
        let steps = 0
        const addEventListener = () => {
          if (steps++ === step) throw failure
        }
        const signal = { aborted: false, addEventListener, removeEventListener() {} }
        isGranted = await mutex.lock({ fencing: true, signal }).then((unlock) => unlock().then(() => true), (error) => assert.equal(error, failure))
        assert.ok(step < 50, 'it is granted at last')
      }
    }
    await until(async () => (await database.lockCount()) === 0, 'nothing left locked')
  })

  test(`${contract}: tokens grow, and a fence lets pass while its hold stands`, async () => {
    const createMutex = open(lib)
    const mutex = createMutex(`plain ${contract}`)
    let last = 0n
    for (let turn = 0; turn < 5; turn++) {
      const unlock = await mutex.lock({ fencing: true })
      assert.equal(typeof unlock.token, 'bigint')
      assert.ok(unlock.token > last, `${unlock.token} after ${last}`)
      last = unlock.token
      for (const level of LEVELS) {
        const client = await begin(unlock.fence, level)
        await client.query('COMMIT')
        await client.end()
      }
      assert.equal(await database.lockCount(), 2, 'the key, and one of its own')
      await unlock()
      await notFenced(unlock.fence)
      assert.equal(await database.lockCount(), 0)
    }
    const plain = await mutex.lock()
    assert.deepEqual([plain.token, plain.fence], [undefined, undefined])
    assert.equal(await database.lockCount(), 1)
    await plain()
  })

  test(`${contract}: withLock hands them to its function`, async () => {
    const mutex = open(lib)(`with ${contract}`)
    const seen = await mutex.withLock(
      async (signal, held) => {
        assert.equal(signal.aborted, false)
        assert.ok((await held.verify()) instanceof Date)
        await (await begin(held.fence)).query('COMMIT')
        return held
      },
      { fencing: true },
    )
    assert.equal(typeof seen.token, 'bigint')
    await notFenced(seen.fence)
    await mutex.withLock((...given) => assert.equal(given.length, 1), { timeout: 1000 })
  })

  test(`${contract}: who follows waits until the fenced transaction has ended, within its limits`, async () => {
    const createMutex = open(lib)
    const mutex = createMutex(`open ${contract}`)
    const first = await mutex.lock({ fencing: true })
    const client = await begin(first.fence, 'SERIALIZABLE')
    await client.query('CREATE TABLE IF NOT EXISTS written (what text)')
    await first()
    await assert.rejects(mutex.lock({ fencing: true, timeout: 150 }), { code: 'ERR_LOCK_TIMEOUT', message: /within 150 ms/ })
    await assert.rejects(mutex.lock({ fencing: true, timeout: 0 }), { code: 'ERR_LOCK_TIMEOUT', message: /within 0 ms/ })
    const controller = new AbortController()
    const aborted = assert.rejects(mutex.lock({ fencing: true, signal: controller.signal }), { name: 'AbortError' })
    await waitingAtGate()
    controller.abort()
    await aborted
    await until(async () => (await database.locks(`open ${contract}`)).length === 0, 'the key is given back')

    let granted = false
    const following = mutex.lock({ fencing: true }).then((unlock) => {
      granted = true
      return unlock
    })
    await waitingAtGate()
    assert.equal(granted, false)
    // Who does not ask for a fence has no business with it. The key itself is held by then.
    await assert.rejects(open(lib)(`open ${contract}`).lock({ timeout: 0 }), { code: 'ERR_LOCK_TIMEOUT' })
    await client.query('COMMIT')
    const second = await following
    assert.ok(second.token > first.token)
    await notFenced(first.fence)
    await (await begin(second.fence)).query('COMMIT')
    await second()
  })

  test(`${contract}: a hold that is handed on within the process leaves no fence behind`, async () => {
    const createMutex = open(lib)
    const other = open(lib)
    const first = await createMutex('hand-over').lock({ fencing: true })
    const client = await begin(first.fence)
    let granted = false
    const following = other('hand-over').lock({ fencing: true }).then((unlock) => {
      granted = true
      return unlock
    })
    await first()
    await waitingAtGate()
    assert.equal(granted, false)
    await client.query('COMMIT')
    const second = await following
    await notFenced(first.fence)
    await (await begin(second.fence)).query('COMMIT')
    const third = other('hand-over').lock()
    await second()
    await third.then((unlock) => unlock.verify())
    await notFenced(second.fence)
    await (await third)()
    await until(async () => (await database.lockCount()) === 0, 'nothing is left')
  })

  test(`${contract}: shared holds do not wait for each other's transactions, only for exclusive ones`, async () => {
    const names = [open(lib), open(lib), open(lib)].map((createMutex) => createMutex('shared'))
    const readers = [await names[0].lockShared({ fencing: true }), await names[1].lockShared({ fencing: true })]
    const reading = await Promise.all(readers.map(({ fence }) => begin(fence)))
    const third = await names[2].lockShared({ fencing: true, timeout: 5000 })
    await third()
    for (const unlock of readers) await unlock()
    let written = false
    const writing = names[2].lock({ fencing: true }).then((unlock) => {
      written = true
      return unlock
    })
    await waitingAtGate()
    await reading[0].query('COMMIT')
    await waitingAtGate()
    assert.equal(written, false)
    await reading[1].query('COMMIT')
    const writer = await writing
    const transaction = await begin(writer.fence)
    await writer()
    await assert.rejects(names[0].lockShared({ fencing: true, timeout: 100 }), { code: 'ERR_LOCK_TIMEOUT' })
    await transaction.query('ROLLBACK')
    await (await names[0].lockShared({ fencing: true, timeout: 5000 }))()
  })

  test(`${contract}: several keys have one token and one fence`, async () => {
    const createMutex = open(lib)
    const all = createMutex.all(['one', 'two', 3n, [4, 5]])
    const before = await createMutex('before').lock({ fencing: true })
    const unlock = await all.lock({ fencing: true })
    assert.ok(unlock.token > before.token)
    await before()
    const client = await begin(unlock.fence)
    await unlock()
    await assert.rejects(createMutex(3n).lock({ fencing: true, timeout: 100 }), { code: 'ERR_LOCK_TIMEOUT' })
    await assert.rejects(all.lock({ fencing: true, timeout: 0 }), { code: 'ERR_LOCK_TIMEOUT', message: /within 0 ms/ })
    await client.query('COMMIT')
    await notFenced(unlock.fence)
    const single = await createMutex([4, 5]).lock({ fencing: true })
    assert.ok(single.token > unlock.token)
    await single()
    await all.withLock(async (_, { fence }) => (await begin(fence)).query('COMMIT'), { fencing: true })
    await until(async () => (await database.lockCount()) === 0, 'nothing is left')
  })

  test(`${contract}: bad input`, async () => {
    const createMutex = open(lib)
    const mutex = createMutex('bad')
    for (const fencing of [1, 'true', null, {}]) {
      await assert.rejects(mutex.lock({ fencing }), { code: 'ERR_INVALID_ARG_TYPE', message: /options\.fencing/ })
      await assert.rejects(mutex.withLock(() => {}, { fencing }), { code: 'ERR_INVALID_ARG_TYPE' })
      assert.throws(() => mutex.elect(() => {}, { fencing }), { code: 'ERR_INVALID_ARG_TYPE' })
    }
    await assert.rejects(createMutex.semaphore('bad', 3).lock({ fencing: true }), { code: 'ERR_INVALID_ARG_VALUE' })
    await assert.rejects(createMutex.semaphore('bad', 3).withLock(() => {}, { fencing: true }), { code: 'ERR_INVALID_ARG_VALUE' })
    await (await mutex.lock({ fencing: false }))()
    await createMutex.close()
    await assert.rejects(mutex.lock({ fencing: true }), { code: 'ERR_CLIENT_CLOSED' })
  })

  test(`${contract}: a session that ends with its first error is let through, and ends with what the fence says`, async () => {
    const mutex = open(lib)('exit on error')
    const unlock = await mutex.lock({ fencing: true })
    const client = await database.client()
    await client.query('SET exit_on_error TO on')
    await begin(unlock.fence, 'READ COMMITTED', client)
    assert.deepEqual((await client.query('SHOW exit_on_error')).rows, [{ exit_on_error: 'on' }])
    await client.query('COMMIT')
    await unlock()
    await assert.rejects(begin(unlock.fence, 'READ COMMITTED', client), { ...refused, severity: 'FATAL' })
  })

  test(`${contract}: where no token can be had the lock is given back`, async () => {
    await database.sql.query(`
      DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'unprivileged') THEN
        CREATE ROLE unprivileged LOGIN PASSWORD 'x'; END IF; END $$;
      REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC`.replace('boolean, text, text)', await emitArguments()))
    const url = Object.assign(new URL(database.connectionString), { username: 'unprivileged', password: 'x' })
    const createMutex = open(lib, url.href)
    const mutex = createMutex('no token')
    await assert.rejects(mutex.lock({ fencing: true }), { code: '42501' })
    await assert.rejects(mutex.withLock(() => assert.fail('without a fence'), { fencing: true }), { code: '42501' })
    await until(async () => (await database.lockCount()) === 0, 'nothing is left')
    await (await mutex.lock())()
    const election = mutex.elect(() => assert.fail('without a fence'), { fencing: true, backoff: { min: 10, max: 20 } })
    const failure = await new Promise((resolve) => election.on('standby', (error) => error && resolve(error)))
    assert.equal(failure.code, '42501')
    await election.stop()
    await database.sql.query(`GRANT EXECUTE ON FUNCTION pg_logical_emit_message(${await emitArguments()} TO PUBLIC`)
    await (await mutex.lock({ fencing: true }))()
    await createMutex.close()
  })

  test(`${contract}: an election has them in each term`, async () => {
    const createMutex = open(lib)
    const tokens = []
    let fence
    const election = createMutex('elected').elect(
      async (term) => {
        tokens.push(term.token)
        if (fence) await notFenced(fence)
        fence = term.fence
        const client = await begin(term.fence)
        await client.query('COMMIT')
        await client.end()
        if (tokens.length === 3) return untilOver(term)
      },
      { fencing: true, backoff: { min: 5, max: 10 } },
    )
    election.on('error', (error) => assert.fail(error))
    await until(() => tokens.length === 3, 'three terms')
    assert.ok(tokens[0] < tokens[1] && tokens[1] < tokens[2], String(tokens))
    await election.stop()
    await notFenced(fence)
    const without = createMutex('elected').elect(untilOver)
    const term = await next(without, 'elected')
    assert.equal('token' in term || 'fence' in term, false)
    await without.stop()
  })
}

/** As far as it needs to be told which of the functions of that name is meant: newer servers have one argument more. */
async function emitArguments() {
  const text = await database.value(
    `SELECT pg_get_function_identity_arguments(oid) FROM pg_proc WHERE proname = 'pg_logical_emit_message'
     AND 'bytea'::regtype <> ALL (proargtypes::oid[])`,
  )
  return `${text})`
}

test('contract 1: a hold within a hold has a fence of its own and waits for no transaction of its own owner', async () => {
  const mutex = open()('nested')
  const outer = await mutex.lock({ fencing: true })
  const transaction = await begin(outer.fence)
  const inner = await mutex.lock({ fencing: true, timeout: 5000 })
  assert.ok(inner.token > outer.token)
  await inner()
  await notFenced(inner.fence)
  await (await begin(outer.fence)).query('COMMIT')
  await transaction.query('COMMIT')
  // Of two that begin together each waits.
  await outer()
  const [one, two] = await Promise.all([mutex.lock({ fencing: true }), mutex.lock({ fencing: true })])
  assert.notEqual(one.token, two.token)
  await one()
  await (await begin(two.fence)).query('COMMIT')
  await two()
})

test('contract 1: unlock() gives a fenced hold up as any other', async () => {
  const mutex = open()('by name')
  const { fence } = await mutex.lock({ fencing: true })
  assert.equal(await mutex.unlock(), true)
  await notFenced(fence)
  assert.equal(await mutex.unlock(), false)
  const asked = mutex.lock({ fencing: true }).then(() => 'granted', (error) => error.code)
  const given = await mutex.unlock()
  assert.ok(given ? (await asked) === 'ERR_LOCK_LOST' : (await asked) === 'granted', `${given} ${await asked}`)
})

test('an upgrade waits for what shared holders of the same process have open', async () => {
  const mutex = open()('upgrade')
  const other = open()('upgrade')
  const shared = await mutex.lockShared({ fencing: true })
  const stranger = await other.lockShared({ fencing: true })
  const transaction = await begin(stranger.fence)
  await stranger()
  await assert.rejects(mutex.lock({ fencing: true, timeout: 100 }), { code: 'ERR_LOCK_TIMEOUT' })
  await (await begin(shared.fence)).query('COMMIT')
  await transaction.query('COMMIT')
  const exclusive = await mutex.lock({ fencing: true })
  await exclusive()
  await shared()
})

test('a hold that is lost before its fence is complete is told by the call alone', async () => {
  const createMutex = open()
  const mutex = createMutex('lost early')
  const first = await mutex.lock({ fencing: true })
  const transaction = await begin(first.fence)
  await first()
  const asked = mutex.lock({ fencing: true })
  const lost = assert.rejects(asked, { code: 'ERR_LOCK_LOST' })
  await waitingAtGate()
  assert.equal(await database.terminate('lost early'), 1)
  await lost
  assert.equal(await mutex.unlock(), false, 'nobody was told of a hold')
  await transaction.query('COMMIT')
  await (await mutex.lock({ fencing: true }))()
})

test('owners of one process in turn: whoever writes late is refused, whatever is on its way to the server', async () => {
  await database.sql.query('CREATE TABLE turns (token int8)')
  const pool = new pg.Pool({ connectionString: database.connectionString, max: 20, application_name: 'plain client' })
  const late = []
  let refusals = 0
  const write = async ({ token, fence }) => {
    const client = await pool.connect()
    await sleep(Math.random() * 4)
    await client.query('BEGIN')
    try {
      await client.query(fence)
      await client.query('INSERT INTO turns VALUES ($1)', [token])
      await sleep(Math.random() * 4)
      await client.query('COMMIT')
    } catch (error) {
      assert.equal(error.code, '55000')
      refusals++
      await client.query('ROLLBACK')
    } finally {
      client.release()
    }
  }
  const seen = []
  const writers = []
  const take = async (mutex) => {
    for (let turn = 0; turn < 25; turn++) {
      const unlock = await mutex.lock({ fencing: true })
      const { rows } = await pool.query('SELECT count(*)::int FROM turns WHERE token < $1', [unlock.token])
      seen.push({ token: unlock.token, count: rows[0].count })
      writers.push(write(unlock), write(unlock))
      await sleep(Math.random() * 4)
      await unlock()
    }
  }
  const mutexes = [open(), open(), open(advisoryLock2), open(advisoryLock2)].map((createMutex) => createMutex('turns'))
  await Promise.all(mutexes.map(take))
  await Promise.all(writers)
  for (const { token, count } of seen) {
    const found = await database.value('SELECT count(*)::int FROM turns WHERE token < $1', [token])
    if (found !== count) late.push({ token, count, found })
  }
  assert.deepEqual(late, [])
  assert.deepEqual(seen.map(({ token }) => token), seen.map(({ token }) => token).toSorted((a, b) => (a < b ? -1 : 1)))
  assert.ok(refusals > 0 && refusals < writers.length, `${refusals} of ${writers.length}`)
  await pool.end()
})

test('a fence is no protection outside of a transaction, and says so', async () => {
  const unlock = await open()('outside').lock({ fencing: true })
  const outside = { code: '25P01', message: 'a fence protects nothing outside of a transaction' }
  await assert.rejects(database.sql.query(unlock.fence), outside)
  await assert.rejects(database.sql.query({ text: unlock.fence, name: 'prepared' }), outside)
  const sql = postgres(database.connectionString, { max: 1, onnotice() {} })
  await assert.rejects(sql.unsafe(unlock.fence), outside)
  await assert.rejects(sql.unsafe(unlock.fence, [], { prepare: true }), outside)
  await assert.rejects(psql(unlock.fence), ({ stderr }) => /outside of a transaction/.test(stderr))
  for (const language of ['de_DE.UTF-8', 'C']) {
    await database.sql.query('SELECT set_config($1, $2, false)', ['lc_messages', language]).catch(() => {})
    await assert.rejects(database.sql.query(unlock.fence), outside)
  }
  // Several statements of one message are a transaction.
  await database.sql.query(`${unlock.fence}; SELECT 1`)
  await sql.end()
  await unlock()
})

const psql = (...commands) => {
  const parameters = ['-X', '-v', 'ON_ERROR_STOP=1', '-d', database.connectionString, ...commands.flatMap((command) => ['-c', command])]
  return promisify(execFile)(program('psql', 'postgresql-client'), parameters)
}

test('by pg, postgres.js and psql, directly and through PgBouncer in transaction mode', async () => {
  await database.sql.query('CREATE TABLE posts (by text)')
  const bouncer = await startPgBouncer(database.connectionString, 'transaction', { default_pool_size: 2 })
  const unlock = await open()("it's 5 o'clock — ünïcödé $fence$").lock({ fencing: true })
  const ways = {
    async pg(url) {
      const client = await database.client(url)
      try {
        await begin(unlock.fence, 'REPEATABLE READ', client)
        await client.query("INSERT INTO posts VALUES ('pg')")
        await client.query('COMMIT')
      } finally {
        await client.end()
      }
    },
    async 'postgres.js'(url) {
      const sql = postgres(url, { max: 1, prepare: false, onnotice() {} })
      try {
        await sql.begin(async (transaction) => {
          await transaction.unsafe(unlock.fence)
          await transaction`INSERT INTO posts VALUES ('postgres.js')`
        })
      } finally {
        await sql.end()
      }
    },
    async psql(url) {
      const { stdout } = await promisify(execFile)(program('psql', 'postgresql-client'), [
        ...['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', url, '--single-transaction'],
        ...['-c', unlock.fence, '-c', "INSERT INTO posts VALUES ('psql')"],
      ])
      return stdout
    },
  }
  const urls = [database.connectionString, bouncer.connectionString]
  for (const url of urls) for (const send of Object.values(ways)) await send(url)
  assert.equal(await database.value('SELECT count(*)::int FROM posts'), 6)
  await unlock()
  for (const url of urls) for (const send of Object.values(ways)) await assert.rejects(send(url), /is not held any more/)
  assert.equal(await database.value('SELECT count(*)::int FROM posts'), 6)
  await bouncer.stop()
})

test('a hold that is itself a transaction through a pooler has no fence, and says so', async () => {
  const bouncer = await startPgBouncer(database.connectionString, 'transaction')
  const createMutex = open(advisoryLock, bouncer.connectionString, { transactionPooling: true })
  const mutex = createMutex('pooled')
  const unavailable = { code: 'ERR_FENCING_UNAVAILABLE', message: /directConnectionString/ }
  // At once, and not only after the lock has been waited for.
  await sqlLock(database.sql, 'pooled')
  for (const one of [mutex, createMutex.all(['pooled', 'another'])]) {
    await assert.rejects(one.lock({ fencing: true }), unavailable)
    await assert.rejects(one.withLock(() => {}, { fencing: true }), unavailable)
    assert.throws(() => one.elect(() => {}, { fencing: true }), unavailable)
  }
  await sqlUnlock(database.sql, 'pooled')
  await (await mutex.lock({ timeout: 10_000 }))()
  await bouncer.stop()
})

test('the statement means what it says whatever is in the schemas and settings of its sender', async () => {
  const unlock = await open()('hostile').lock({ fencing: true })
  const client = await database.client()
  await client.query(`
    CREATE SCHEMA evil; SET search_path TO evil, pg_catalog; SET standard_conforming_strings TO off; SET plpgsql.variable_conflict TO error;
    CREATE TABLE pg_locks (locktype text, classid oid, objid oid, objsubid int2, granted bool, database oid, pid int);
    CREATE FUNCTION pg_advisory_xact_lock_shared(int4, int4) RETURNS void LANGUAGE sql AS 'SELECT';
    CREATE FUNCTION count(anyelement) RETURNS int8 LANGUAGE sql AS 'SELECT 1::int8'`)
  await begin(unlock.fence, 'READ COMMITTED', client)
  await client.query('COMMIT')
  await unlock()
  await assert.rejects(begin(unlock.fence, 'READ COMMITTED', client), refused)
})

test('a fenced transaction stays one over savepoints and the first phase of a two-phase commit', async () => {
  const mutex = open()('savepoint')
  const unlock = await mutex.lock({ fencing: true })
  const client = await begin(unlock.fence)
  await client.query('SAVEPOINT inner_one')
  await client.query('ROLLBACK TO SAVEPOINT inner_one')
  await unlock()
  await assert.rejects(mutex.lock({ fencing: true, timeout: 100 }), { code: 'ERR_LOCK_TIMEOUT' })
  await client.query("PREPARE TRANSACTION 'fenced'")
  await assert.rejects(mutex.lock({ fencing: true, timeout: 100 }), { code: 'ERR_LOCK_TIMEOUT' })
  await client.query("ROLLBACK PREPARED 'fenced'")
  await (await mutex.lock({ fencing: true, timeout: 5000 }))()
})

test('whoever waits for an open transaction holds nothing back: no snapshot, no lock but the key', async () => {
  const name = 'harmless'
  const mutex = open()(name)
  const first = await mutex.lock({ fencing: true })
  const transaction = await begin(first.fence)
  await first()
  const controller = new AbortController()
  const waiting = assert.rejects(mutex.lock({ fencing: true, signal: controller.signal }), { name: 'AbortError' })
  await waitingAtGate()
  await database.sql.query('CREATE TABLE vacuumed (x int)')
  const oldest = new Set()
  // Its turns end, and with each the snapshot.
  await until(async () => {
    const { rows } = await database.sql.query(
      "SELECT backend_xmin::text AS xmin FROM pg_stat_activity WHERE application_name NOT IN ('plain client') AND datname = current_database()",
    )
    await database.sql.query('INSERT INTO vacuumed VALUES (1)')
    for (const { xmin } of rows) oldest.add(xmin)
    return oldest.has(null) && oldest.size >= 3
  }, 'snapshots come and go')
  await database.sql.query('VACUUM vacuumed')
  await transaction.query('COMMIT')
  controller.abort()
  await waiting.catch(() => {})
})

test('a silent link: the old holder learns of the loss, and its fence is refused when the next is granted', async () => {
  const proxy = await startProxy(database.connectionString)
  const impatient = { heartbeat: 300, answerTimeout: 1000 }
  const unlock = await open(advisoryLock, proxy.connectionString, impatient)('silent').lock({ fencing: true })
  const transaction = await begin(unlock.fence)
  proxy.silence()
  const following = open()('silent').lock({ fencing: true })
  await until(() => unlock.signal.aborted, 'told')
  // Now the server hears of it too, which sees no more of a silent network than we do.
  proxy.close()
  await waitingAtGate()
  await transaction.query('COMMIT')
  const second = await following
  await notFenced(unlock.fence)
  assert.ok(second.token > unlock.token)
  await second()
})

test('the fence of an ended hold stays refused while a stranger holds the key', async () => {
  const plain = await database.client()
  const mutex = open()('mixed')
  const unlock = await mutex.lock({ fencing: true })
  await unlock()
  await sqlLock(plain, 'mixed')
  await notFenced(unlock.fence)
  await sqlUnlock(plain, 'mixed')
})

test('tokens grow over a crash of the server', async () => {
  const crashed = await startServer({ autovacuum: 'off', synchronous_commit: 'off', wal_writer_delay: '10s' })
  after(() => crashed.stop())
  const url = crashed.connectionString()
  let last = 0n
  for (let crash = 0; crash < 3; crash++) {
    const createMutex = open(advisoryLock, url)
    const unlock = await createMutex('crash').lock({ fencing: true })
    assert.ok(unlock.token > last, `${unlock.token} after ${last}`)
    last = unlock.token
    const [{ pid }] = await createMutex('crash').holders()
    process.kill(pid, 'SIGKILL')
    await until(() => unlock.signal.aborted, 'told')
    await createMutex.close()
    // The server begins again from what it has on disk.
    const again = open(advisoryLock, url)
    let unlocked
    await until(async () => {
      unlocked = await again('crash').lock({ fencing: true }).catch(() => undefined)
      return unlocked !== undefined
    }, 'the server is back', 30_000)
    assert.ok(unlocked.token > last, `${unlocked.token} after ${last}`)
    last = unlocked.token
    await again.close()
  }
})
