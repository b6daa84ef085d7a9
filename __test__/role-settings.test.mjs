// Settings of a role or a database that are meant for queries, and would harm a session that holds locks.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock } from './support/database.mjs'

const server = await startServer()
after(() => server.stop())
const database = await openDatabase(server)
const { hostname, port, pathname } = new URL(database.connectionString)

/** A role with these settings: how it connects. */
async function role(name, settings) {
  await database.sql.query(`CREATE ROLE ${name} LOGIN PASSWORD 'secret'`)
  for (const [setting, value] of Object.entries(settings)) await database.sql.query(`ALTER ROLE ${name} SET ${setting} = '${value}'`)
  return `postgres://${name}:secret@${hostname}:${port}${pathname}`
}

/** Locks, waits for longer than one turn, upgrades, holds: nothing of it fails, and nothing is lost. */
async function exercise(connectionString, options) {
  const createMutex = advisoryLock(connectionString, options)
  const other = advisoryLock(connectionString, { ...options, applicationName: 'other' })
  const unlock = await createMutex('held').lock()
  await sqlLock(database.sql, 'taken')
  const waiting = createMutex('taken').lock()
  await database.waiter('taken')
  await sleep(2500)
  const beside = await other('both').lockShared()
  const reading = await createMutex('both').lockShared()
  const upgrade = createMutex('both').lock()
  await sleep(100)
  assert.equal(await beside(), true)
  assert.equal(await (await upgrade)(), true)
  assert.equal(await reading(), true)
  await sqlUnlock(database.sql, 'taken')
  assert.equal(await (await waiting)(), true)
  assert.equal((await createMutex('held').holders()).length, 1)
  assert.equal(unlock.signal.aborted, false)
  assert.equal(await unlock(), true)
  await Promise.all([createMutex.close(), other.close()])
}

for (const [name, settings] of Object.entries({
  transactions_end: { transaction_timeout: '1s' },
  statements_end: { statement_timeout: '500ms', lock_timeout: '100ms' },
  idle_sessions_end: { idle_session_timeout: '300ms', idle_in_transaction_session_timeout: '200ms' },
  errors_end: { exit_on_error: 'on' },
  everything_is_read: { default_transaction_read_only: 'on' },
})) {
  test(`${JSON.stringify(settings)}`, async () => exercise(await role(name, settings)))
}

test('transactions that wait for those of others: beside an open one nobody waits', async (t) => {
  const serial = { default_transaction_isolation: 'serializable', default_transaction_read_only: 'on', default_transaction_deferrable: 'on' }
  const connectionString = await role('serial', serial)
  const open = await database.client()
  t.after(() => open.end())
  await open.query('CREATE TABLE written (x int)')
  await open.query('BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO written VALUES (1)')
  await exercise(connectionString, { heartbeat: 100, answerTimeout: 1000 })
  const byOptions = new URL(database.connectionString)
  byOptions.searchParams.set('options', Object.entries(serial).map(([name, value]) => `-c ${name}=${value}`).join(' '))
  await exercise(byOptions.href, { heartbeat: 100, answerTimeout: 1000 })
})

test('the greatest heartbeat and time for an answer that there are', async () => {
  for (const heartbeat of [32_760_000, 2 ** 31 - 1]) {
    for (const answerTimeout of [100, 600_000]) {
      const createMutex = advisoryLock(database.connectionString, { heartbeat, answerTimeout })
      // In a tenth of a second a server under load may not answer, which is not what this is about.
      const late = ({ code, cause }) => (answerTimeout === 100 && (cause ?? { code }).code === 'ETIMEDOUT' ? 'works' : code)
      assert.equal(await createMutex('greatest').withLock(() => 'works').catch(late), 'works')
      await createMutex.close()
    }
  }
  const log = await readFile(join(server.socketDirectory, 'log'), 'utf8')
  assert.doesNotMatch(log, /setsockopt|out of range|22023/)
})
