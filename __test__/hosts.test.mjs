// Several hosts: the first that answers and takes writes serves all; a primary and a standby are real ones.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import pg from 'pg'
import advisoryLock from '../index.js'
import { password, startServer, user } from '../scripts/embedded-postgres.mjs'
import { until } from './support/database.mjs'
import { startAnswering } from './support/recorder.mjs'
import { outcomeOfPg } from './support/tls-server.mjs'

const primary = await startServer()
after(() => primary.stop())
const standby = await startServer({}, primary)
after(() => standby.stop())

const UNKNOWN = 'no.such.host.invalid'
const here = (port) => `127.0.0.1:${port}`
const CLOSED = here(1)
const secret = encodeURIComponent(password)

/** A connection string with these hosts, in their order. */
function string(hosts, query = {}) {
  const parameters = new URLSearchParams(query)
  return `postgres://${user}:${secret}@${hosts.join(',')}/postgres?${parameters}`
}
const [toPrimary, toStandby] = [here(primary.port), here(standby.port)]

async function client(server) {
  const opened = new pg.Client({ connectionString: server.connectionString(), application_name: 'plain client' })
  opened.on('error', () => {})
  await opened.connect()
  after(() => opened.end().catch(() => {}))
  return opened
}
const sql = new Map([[primary, await client(primary)], [standby, await client(standby)]])
const lockCount = async (server) => {
  const { rows } = await sql.get(server).query(`SELECT count(*)::int AS count FROM pg_locks WHERE locktype = 'advisory' AND granted`)
  return rows[0].count
}

/** Takes a lock by this string: where it is then; `undefined` for neither. */
async function lands(connectionString, options) {
  const createMutex = advisoryLock(connectionString, options)
  try {
    assert.equal(await createMutex('where').tryLock(), true)
    const counts = new Map([[await lockCount(primary), primary], [await lockCount(standby), standby]])
    return counts.get(1)
  } finally {
    await createMutex.close()
  }
}

const failure = async (connectionString, options) => {
  const createMutex = advisoryLock(connectionString, options)
  const error = await createMutex('nowhere').lock().then(assert.fail, (reason) => reason)
  await createMutex.close()
  assert.equal(error.name, 'AdvisoryLockError')
  assert.doesNotMatch(`${error.message} ${error.stack} ${error.cause?.message}`, /correct horse|correct%20horse/)
  return error
}

for (const [what, first] of [
  ['refuses', CLOSED],
  ['has no address', UNKNOWN],
  ['has no socket', '%2Fno%2Fsuch%2Ffolder'],
  ['is a standby', toStandby],
]) {
  test(`the first host ${what}: the next one serves`, async () => {
    assert.equal(await lands(string([first, toPrimary])), primary)
    assert.equal(await lands(string([first, CLOSED, first, toPrimary])), primary)
  })
}

test('the same in every form of a list', async () => {
  const [ports, login] = [[1, standby.port, primary.port].join(), { user, password }]
  const list = { host: '127.0.0.1,127.0.0.1,127.0.0.1', port: ports, ...login }
  assert.equal(await lands(`postgres:///postgres?${new URLSearchParams(list)}`), primary)
  const pairs = Object.entries(list).map(([name, value]) => `${name}='${value}'`)
  assert.equal(await lands(`${pairs.join(' ')} dbname=postgres`), primary)
  const addresses = `host=${UNKNOWN},${UNKNOWN} hostaddr=127.0.0.1,127.0.0.1 port=1,${primary.port}`
  assert.equal(await lands(`${addresses} user=${user} password='${password}' dbname=postgres`), primary)
  const unix = `${encodeURIComponent(standby.socketDirectory)}:${standby.port},${encodeURIComponent(primary.socketDirectory)}:${primary.port}`
  assert.equal(await lands(string([unix])), primary)
})

test('a first host that is silent leaves the next its time', async () => {
  const silent = await startAnswering()
  assert.equal(await lands(string([here(silent.port), toPrimary]), { connectTimeout: 1000 }), primary)
  assert.equal(silent.connections(), 1)
  const begin = performance.now()
  const error = await failure(string([here(silent.port), here(silent.port), here(silent.port)]), { connectTimeout: 600 })
  assert.equal(error.code, 'ETIMEDOUT')
  assert.ok(performance.now() - begin < 5000)
  assert.equal(silent.connections(), 4, 'each of the three had its turn')
})

test('a first host that shuts down: the next one serves', async () => {
  const leaving = await startServer()
  const last = await client(leaving)
  const halted = leaving.halt('smart')
  // It waits for the client, and lets nobody in meanwhile.
  await until(async () => (await outcomeOfPg(leaving.connectionString())) === '57P03', 'it shuts down')
  assert.equal((await failure(leaving.connectionString())).code, '57P03')
  assert.equal(await lands(string([here(leaving.port), toPrimary])), primary)
  await last.end()
  await halted
  await leaving.stop()
})

test('all hosts down: each is told, the code is that of the last', async () => {
  const error = await failure(string([UNKNOWN, toStandby, here(2), CLOSED]))
  assert.equal(error.code, 'ECONNREFUSED')
  assert.deepEqual([error.address, error.port], ['127.0.0.1', 1])
  for (const part of [UNKNOWN, 'ENOTFOUND', toStandby, 'standby', here(2), CLOSED]) assert.ok(error.message.includes(part), part)
  assert.equal(error.cause.code, 'ECONNREFUSED')
  const none = await failure(string([CLOSED, toStandby]))
  assert.equal(none.code, '25006')
})

test('who has answered has answered for all', async () => {
  const next = await startAnswering()
  const wrong = `postgres://${user}:wrong@${toPrimary},${here(next.port)}/postgres`
  assert.equal((await failure(wrong)).code, '28P01')
  assert.equal((await failure(string([toPrimary, here(next.port)]).replace('/postgres?', '/no_such_database?'))).code, '3D000')
  assert.equal((await failure(string([toPrimary, here(next.port)], { sslmode: 'require' }))).code, 'ERR_TLS_NOT_OFFERED')
  assert.equal(next.connections(), 0)
})

test('target_session_attrs', async () => {
  const both = [
    [toStandby, toPrimary],
    [toPrimary, toStandby],
  ]
  for (const hosts of both) {
    for (const attribute of ['read-write', 'primary']) assert.equal(await lands(string(hosts, { target_session_attrs: attribute })), primary)
    for (const attribute of ['read-only', 'standby', 'prefer-standby']) {
      assert.equal(await lands(string(hosts, { target_session_attrs: attribute })), standby, attribute)
    }
  }
  assert.equal(await lands(string([CLOSED, toPrimary], { target_session_attrs: 'prefer-standby' })), primary)
  const readOnly = string([toPrimary], { options: '-c default_transaction_read_only=on', target_session_attrs: 'read-write' })
  assert.equal((await failure(readOnly)).code, '25006')
  assert.equal((await failure(string([toStandby], { target_session_attrs: 'primary' }))).code, '25006')
})

test('a single standby works, with one warning that says what it means', async () => {
  const warnings = []
  const note = (warning) => warnings.push(warning)
  process.on('warning', note)
  const owners = [undefined, 'another'].map((applicationName) => advisoryLock(string([toStandby]), { applicationName }))
  for (const createMutex of owners) assert.equal(await createMutex('on a standby').withLock(() => 'works'), 'works')
  await until(() => warnings.length > 0, 'a warning')
  assert.equal(await lands(string([toPrimary])), primary)
  assert.equal(await lands(string([toStandby, toPrimary], { target_session_attrs: 'any' })), standby)
  await Promise.all(owners.map((createMutex) => createMutex.close()))
  await new Promise(setImmediate)
  process.off('warning', note)
  assert.equal(warnings.length, 1)
  const [{ name, code, message }] = warnings
  assert.deepEqual({ name, code }, { name: 'AdvisoryLockWarning', code: 'ADVISORY_LOCK_STANDBY' })
  assert.match(message, new RegExp(`${standby.port} is a hot standby.*nobody on the primary`))
})

// The last one: it leaves a primary behind that was the standby.
test('the standby is promoted and the primary stopped while a lock is held: the holder is told, the next call goes to the new one', async () => {
  const createMutex = advisoryLock(string([toPrimary, toStandby]))
  const unlock = await createMutex('elected').lock()
  assert.deepEqual([await lockCount(primary), await lockCount(standby)], [1, 0])
  await sql.get(standby).query('SELECT pg_promote()')
  assert.equal(unlock.signal.aborted, false, 'the old primary is still there')
  const lost = once(unlock.signal, 'abort')
  await primary.halt('immediate')
  await lost
  assert.equal(unlock.signal.reason.code, 'ERR_LOCK_LOST')
  await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
  assert.equal(
    await createMutex('elected').withLock(() => lockCount(standby)),
    1,
  )
  await createMutex.close()
})
