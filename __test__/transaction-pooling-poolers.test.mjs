// What a pooler may be set to, beside the mode: every method works whatever the size of the pool, whatever it does with server
// connections between transactions, and however clients prove who they are; and what an operator commands is told or does no harm.

import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import advisoryLock, { strToKey } from '../index.js'
import advisoryLock2 from '../v2.js'
import { createCertificate, keyPem } from './support/certificates.mjs'
import { openDatabase, sqlUnlock, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'

const database = await openDatabase()
const pooler = async (settings) => {
  const started = await startPgBouncer(database.connectionString, 'transaction', { server_login_retry: 1, ...settings })
  after(started.stop)
  return started
}
const owner = (string, options, create = advisoryLock) => create(string, { transactionPooling: true, ...options })
const nothingIsLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing is locked', 5000)
const LONG = { timeout: 10_000 }
const lossOf = (signal) => new Promise((resolve) => {
  if (signal.aborted) resolve(signal.reason)
  else signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
})

/** That the one hold there is has no snapshot, no transaction id and no lock of anything else. */
async function isHarmless() {
  const { rows } = await database.sql.query(
    `SELECT a.backend_xmin::text, a.backend_xid::text, array_agg(DISTINCT l.locktype ORDER BY l.locktype) AS locks
     FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE a.datname = current_database()
     AND a.pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted) GROUP BY a.pid, 1, 2`,
  )
  assert.deepEqual(rows, [{ backend_xmin: null, backend_xid: null, locks: ['advisory', 'virtualxid'] }])
}

/** Calls each method of a mutex that nobody else uses. */
async function useAll(mutex, isFirst) {
  for (const suffix of ['', 'Shared']) {
    const unlock = await mutex[`lock${suffix}`](LONG)
    assert.ok((await unlock.verify()) instanceof Date)
    await isHarmless()
    await unlock()
    assert.ok(await mutex[`tryLock${suffix}`]())
    await isHarmless()
    await mutex[`unlock${suffix}`]()
    assert.equal(await mutex[`withLock${suffix}`]((signal) => signal.aborted, LONG), false)
  }
  assert.deepEqual(await mutex.tryWithLock(() => 3), { acquired: true, value: 3 })
  assert.deepEqual(await mutex.holders(), [])
  if (!isFirst) return
  // The holds of one owner do not conflict.
  const [shared, exclusive] = [await mutex.lockShared(LONG), await mutex.lock(LONG)]
  await isHarmless()
  await exclusive()
  await shared()
}

const KEYS = ['name', [-5, 7], [0x7fffffff, -0x80000000], -1n, 2n ** 62n, -(2n ** 63n), 0n]

for (const [what, settings] of Object.entries({
  'as it comes': {},
  'which resets server connections': { server_reset_query: 'DISCARD ALL', server_reset_query_always: 1 },
  'which checks server connections': { server_check_delay: 0, server_check_query: 'SELECT 1' },
  'which renews server connections': { server_lifetime: 1, server_fast_close: 1, server_idle_timeout: 1 },
})) {
  test(`PgBouncer ${what}: each method, with every size of the pool`, async () => {
    for (const size of [1, 2, 5]) {
      const { connectionString } = await pooler({ default_pool_size: size, ...settings })
      for (const create of [advisoryLock, advisoryLock2]) {
        const createMutex = owner(connectionString, {}, create)
        for (const key of KEYS) await useAll(createMutex(key), create === advisoryLock)
        const { held, waiting } = createMutex.stats()
        assert.deepEqual({ held, waiting }, { held: 0, waiting: 0 })
        await createMutex.close()
      }
      await nothingIsLeft()
    }
  })
}

test('PgBouncer with TLS that asks for the password which the server knows', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-pgbouncer-tls-'))
  after(() => rm(folder, { recursive: true }))
  await chmod(folder, 0o755)
  const ca = createCertificate('ca of a pooler', { ca: true })
  const own = createCertificate('localhost', { issuer: ca, names: ['localhost', '127.0.0.1'] })
  const { username } = new URL(database.connectionString)
  const secret = await database.value('SELECT rolpassword FROM pg_authid WHERE rolname = $1', [username])
  assert.match(secret, /^SCRAM-SHA-256\$/)
  const files = { 'own.crt': own.pem, 'own.key': keyPem(own), 'ca.crt': ca.pem, 'users.txt': `"${username}" "${secret}"\n` }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const { connectionString } = await pooler({
    auth_type: 'scram-sha-256', auth_file: join(folder, 'users.txt'), default_pool_size: 2,
    client_tls_sslmode: 'require', client_tls_cert_file: join(folder, 'own.crt'), client_tls_key_file: join(folder, 'own.key'),
  })
  const url = `${connectionString}?sslmode=verify-full&sslrootcert=${encodeURIComponent(join(folder, 'ca.crt'))}&pgbouncer=true`
  const [a, b] = [advisoryLock(url), advisoryLock(url, { applicationName: 'b' })]
  const unlock = await a('encrypted').lock(LONG)
  await isHarmless()
  assert.equal(await b('encrypted').tryLock(), false)
  const next = b('encrypted').lock(LONG)
  assert.ok((await unlock.verify()) instanceof Date)
  assert.equal(await unlock(), true)
  assert.equal(await (await next)(), true)
  await Promise.all([a.close(), b.close()])
  const wrong = new URL(url)
  wrong.password = 'wrong'
  const stranger = advisoryLock(wrong.href)
  await assert.rejects(stranger('encrypted').lock(LONG), (error) => ['28P01', '08P01'].includes(error.code) && !error.message.includes('wrong'))
  await stranger.close()
  await nothingIsLeft()
})

test('RECONNECT spares who holds, KILL is told, and all goes on after RESUME', async () => {
  const bouncer = await pooler({ default_pool_size: 3 })
  const [a, b] = [owner(bouncer.connectionString), owner(bouncer.connectionString, { applicationName: 'b', connectTimeout: 500 })]
  const unlock = await a('commanded').lock()
  await bouncer.command('RECONNECT')
  assert.ok((await unlock.verify()) instanceof Date)
  assert.equal(await b('commanded').tryLock(), false)
  const name = await database.value('SELECT current_database()')
  await bouncer.command(`KILL ${name}`)
  const loss = await lossOf(unlock.signal)
  assert.equal(loss.code, 'ERR_LOCK_LOST')
  assert.equal(loss.cause.code, '08P01', 'as PgBouncer calls everything')
  await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
  // PgBouncer ends its clients one after the other.
  await until(() => b.stats().sessions === 0, 'the idle one is ended, too')
  await assert.rejects(b('commanded').tryLock(), { code: 'ETIMEDOUT' }, 'no server connection is lent')
  await bouncer.command(`RESUME ${name}`)
  for (const createMutex of [a, b]) assert.equal(await createMutex('commanded').withLock(() => 'works', LONG), 'works')
  await Promise.all([a.close(), b.close()])
  await nothingIsLeft()
})

test('a lock that was waited for in the queue of the server leaves no more behind than any', async () => {
  const { connectionString } = await pooler({ default_pool_size: 2 })
  const createMutex = owner(connectionString)
  const key = strToKey('handed on')
  const [first, second] = await Promise.all([database.client(), database.client()])
  // Who hand it on among themselves, so that it is never free. Nobody gets a shared lock before who waits for an exclusive one.
  const isTaken = async (client) => (await client.query('SELECT pg_try_advisory_lock_shared($1, $2) AS taken', key)).rows[0].taken
  assert.equal(await isTaken(first), true)
  const waiting = createMutex('handed on').lock({ timeout: 20_000 })
  const holders = [first, second]
  while (await isTaken(holders[1])) {
    await sqlUnlock(holders[0], 'handed on', '_shared')
    holders.reverse()
  }
  await sqlUnlock(holders[0], 'handed on', '_shared')
  const unlock = await waiting
  await isHarmless()
  assert.ok((await unlock.verify()) instanceof Date)
  await isHarmless()
  assert.equal(await unlock(), true)
  await Promise.all([createMutex.close(), first.end(), second.end()])
  await nothingIsLeft()
})
