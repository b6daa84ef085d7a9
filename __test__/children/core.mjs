// The core of both contracts, by what every runtime has: run with a connection string, it prints `core: ok` or fails.

import assert from 'node:assert/strict'
import pg from 'pg'
import advisoryLock from '../../index.js'
import contract2 from '../../v2.js'

/** @param {string} connectionString @param {string} name of the locks, so that runs do not meet */
export async function runCore(connectionString, name) {
  const sql = new pg.Client({ connectionString, application_name: 'plain client' })
  await sql.connect()
  const terminate = async (application) => {
    const { rows } = await sql.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()`,
      [application],
    )
    assert.ok(rows.length > 0, 'somebody was there to be terminated')
  }
  const connect = (contract, application) => contract(connectionString, { applicationName: `${name} ${application}` })
  await testContract1(connect, terminate, name)
  await testContract2(connect, terminate, name)
  await sql.end()
}

async function testContract1(connect, terminate, name) {
  const [one, two] = [connect(advisoryLock, 'one'), connect(advisoryLock, 'two')]
  const mutex = one(name)
  const release = await mutex.lock()
  assert.equal(typeof release, 'function')
  assert.equal(await mutex.tryLock(), true)
  assert.equal(await two(name).tryLock(), false)
  assert.equal(await mutex.unlock(), true)
  const waiting = two(name).lock()
  assert.equal(await release(), true)
  const unlock = await waiting
  assert.equal(await mutex.unlock(), false)
  await assert.rejects(mutex.lock({ timeout: 30 }), { code: 'ERR_LOCK_TIMEOUT' })
  assert.equal(await unlock(), true)

  const reason = new Error('on purpose')
  assert.equal(await mutex.withLock(async () => 5), 5)
  await assert.rejects(mutex.withLock(() => Promise.reject(reason)), (error) => error === reason)
  const shared = await mutex.lockShared()
  assert.equal(await two(name).tryLockShared(), true)
  assert.equal(await two(name).tryLock(), false)
  assert.equal(await two(name).unlockShared(), true)
  await shared()

  const lost = await mutex.lock()
  const fired = new Promise((resolve) => lost.signal.addEventListener('abort', resolve))
  const inside = assert.rejects(mutex.withLock(() => new Promise(() => {})), { code: 'ERR_LOCK_LOST' })
  await terminate(`${name} one`)
  await fired
  await inside
  await assert.rejects(lost(), { code: 'ERR_LOCK_LOST' })
  await noSession(one)
  assert.equal(await mutex.withLock(() => 'again'), 'again')
  await Promise.all([one.close(), two.client.end()])
  await assert.rejects(mutex.lock(), { code: 'ERR_CLIENT_CLOSED' })
}

async function testContract2(connect, terminate, name) {
  const createMutex = connect(contract2, 'three')
  const { lock, tryLock, withLock, lockShared, tryLockShared, unlock } = createMutex(name)
  const release = await lock()
  assert.equal(await tryLock(), undefined)
  const next = withLock(() => 'next')
  assert.equal(await release(), undefined)
  assert.equal(await next, 'next')
  await lock()
  assert.equal(await unlock(), undefined)
  const shared = [await lockShared(), await tryLockShared()]
  assert.equal(await tryLock(), undefined)
  for (const one of shared) await one()
  const inside = assert.rejects(withLock(() => new Promise(() => {}), {}), { code: 'ERR_LOCK_LOST' })
  assert.equal((await createMutex(name).holders()).length, 1)
  await terminate(`${name} three`)
  await inside
  await noSession(createMutex)
  await withLock()
  await createMutex.close()
}

/** Resolves when it is known that all sessions have ended, of which one was told first. */
async function noSession(createMutex) {
  while (createMutex.stats().sessions > 0) await new Promise((resolve) => setTimeout(resolve, 1))
}

const [connectionString, name] = globalThis.process?.argv.slice(2) ?? []
if (name) {
  await runCore(connectionString, name)
  console.log('core: ok')
}
