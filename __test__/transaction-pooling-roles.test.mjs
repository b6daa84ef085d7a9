// Through PgBouncer, as roles whose settings are meant for queries: none of them lets two in, ends a hold or hides a wait.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'

const database = await openDatabase()
const LONG = { timeout: 20_000 }
/** Longer than any limit of these. */
const HELD = 1300
const SETTINGS = [
  ['idle_in_transaction_session_timeout', '1s'],
  ['transaction_timeout', '1s'],
  ['statement_timeout', '200ms'],
  ['lock_timeout', '10ms'],
  ['idle_session_timeout', '500ms'],
  ['default_transaction_isolation', 'repeatable read'],
  ['default_transaction_isolation', 'serializable'],
  ['default_transaction_read_only', 'on'],
  ['default_transaction_deferrable', 'on'],
  ['search_path', 'evil'],
  ['client_min_messages', 'error'],
  ['client_encoding', 'latin1'],
  ['standard_conforming_strings', 'off'],
  ['bytea_output', 'escape'],
  ['plan_cache_mode', 'force_generic_plan'],
  ['row_security', 'off'],
  ['exit_on_error', 'on'],
]
const version = await database.value("SELECT current_setting('server_version_num')::int")
const name = await database.value('SELECT current_database()')
const roles = []

/** A role that the setting is made for, and its way through a pooler. */
async function roleWith(setting, value) {
  const role = `${name}_role_${roles.length}`
  roles.push(role)
  const client = await database.client()
  await client.query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'; ALTER ROLE ${role} SET ${setting} = '${value}'`)
  await client.end()
  const url = new URL(database.connectionString)
  url.username = role
  url.password = 'secret'
  const pooler = await startPgBouncer(url.href, 'transaction', { default_pool_size: 2 })
  after(pooler.stop)
  return pooler.connectionString
}

/** Two who use a lock of this name in turn. */
async function use(string, lock) {
  const [a, b] = ['a', 'b'].map((applicationName) => advisoryLock(string, { transactionPooling: true, applicationName }))
  const unlock = await a(lock).lock(LONG)
  const heldSince = performance.now()
  assert.equal(await b(lock).tryLock(), false)
  const waiting = b(lock).lock(LONG)
  assert.equal((await unlock.verify()) instanceof Date, true)
  await until(() => performance.now() - heldSince > HELD, 'every limit is over')
  assert.ok((await unlock.verify()) instanceof Date)
  assert.equal(await unlock(), true)
  const next = await waiting
  assert.deepEqual((await b(lock).holders()).map(({ mode, granted }) => ({ mode, granted })), [{ mode: 'exclusive', granted: true }])
  assert.equal(await a(lock).tryLockShared(), false)
  assert.equal(await next(), true)
  const [shared, exclusive] = [await a(lock).lockShared(LONG), await a(lock).lock(LONG)]
  assert.equal(await exclusive(), true)
  assert.equal(await shared(), true)
  await Promise.all([a.close(), b.close()])
}

after(async () => {
  for (const role of roles) await database.sql.query(`DROP ROLE ${role}`).catch(() => {})
})

test('a hold outlives every limit, excludes others and is handed on', async () => {
  await database.sql.query(`CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
    CREATE FUNCTION evil.pg_try_advisory_xact_lock(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE FUNCTION evil.set_config(text, text, bool) RETURNS text LANGUAGE sql AS 'SELECT $2';
    CREATE FUNCTION evil.array_agg(text) RETURNS text[] LANGUAGE sql AS 'SELECT NULL::text[]'`)
  const settings = SETTINGS.filter(([setting]) => setting !== 'transaction_timeout' || version >= 170000)
  const outcomes = []
  // Each with a pooler and two servers: so many at once as a small machine serves in time.
  for (let first = 0; first < settings.length; first += 6) {
    const some = settings.slice(first, first + 6).map(async ([setting, value]) => {
      const string = await roleWith(setting, value)
      return [`${setting} = ${value}`, await use(string, `${setting} = ${value}`).then(() => 'works', (error) => error)]
    })
    outcomes.push(...(await Promise.all(some)))
  }
  assert.deepEqual(outcomes, settings.map(([setting, value]) => [`${setting} = ${value}`, 'works']))
  await until(async () => (await database.lockCount()) === 0, 'nothing is locked', 5000)
})
