// What withlock does while it cannot have its lock: it waits, says for whom, and tells a lock that is taken from a server that is away.

import assert from 'node:assert/strict'
import { appendFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { strToKey } from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { commandsOf, unconnected } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startListener } from './support/listener.mjs'
import { startProxy } from './support/proxy.mjs'

const server = await startServer({ max_prepared_transactions: 1 })
const database = await openDatabase(server)
const { start, run } = commandsOf(database.connectionString)
const ISO_TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g

test('after ten seconds one line says who holds the lock', async () => {
  const other = await database.client()
  await sqlLock(other, 'long')
  await sqlLock(database.sql, 'long shared', '_shared')
  await sqlLock(other, 'long shared', '_shared')
  await other.query('BEGIN')
  await other.query('SELECT pg_advisory_xact_lock($1, $2)', strToKey('long prepared'))
  await other.query(`PREPARE TRANSACTION 'the one'`)
  const [waiting, shared, prepared] = ['long', 'long shared', 'long prepared'].map((name) => start('withlock', [name, '--', 'echo', 'in']))
  await Promise.all([waiting, shared, prepared].map((job) => job.complained('\n', 20_000)))
  const holder = (pid, mode = '') => `session ${pid} of "plain client" at 127.0.0.1 since <time>${mode}`
  const line = (name, ...holders) => `withlock: still waiting for the lock "${name}", held by ${holders.join(', ')}\n`
  await sqlUnlock(other, 'long')
  assert.deepEqual(await stripped(waiting), { status: 0, stdout: 'in\n', stderr: line('long', holder(other.processID)) })
  for (const client of [other, database.sql]) await sqlUnlock(client, 'long shared', '_shared')
  await other.query(`COMMIT PREPARED 'the one'`)
  assert.equal((await stripped(prepared)).stderr, line('long prepared', 'a prepared transaction "the one"'))
  const pids = [other.processID, database.sql.processID].sort((first, second) => first - second)
  assert.equal((await stripped(shared)).stderr, line('long shared', ...pids.map((pid) => holder(pid, ' (shared)'))))
})

/** Without the times, which are of a minute ago at most. */
async function stripped(job) {
  const { status, stdout, stderr } = await job.ended
  for (const [time] of stderr.matchAll(ISO_TIME)) assert.ok(Date.now() - Date.parse(time) < 60_000, time)
  return { status, stdout, stderr: stderr.replaceAll(ISO_TIME, '<time>') }
}

test('the session that holds a lock for withlock leads to its process, unless it has been given a name', async () => {
  const names = async (env) => {
    const job = start('withlock', ['named', '--', 'cat'], { input: null, env: { ...unconnected, ...env } })
    await until(async () => (await database.locks('named')).length === 1, 'held')
    const query = `SELECT application_name FROM pg_stat_activity WHERE pid = $1`
    const name = await database.value(query, [(await database.locks('named'))[0].pid])
    job.finish()
    await job.ended
    return [name, job.pid]
  }
  const [name, pid] = await names({ PG_CONNECTION_STRING: database.connectionString })
  assert.match(name, new RegExp(`^withlock ${pid}@.`))
  const [own] = await names({ PG_CONNECTION_STRING: `${database.connectionString}?application_name=mine` })
  assert.equal(own, 'mine')
  const [variable] = await names({ PG_CONNECTION_STRING: database.connectionString, PGAPPNAME: 'theirs' })
  assert.equal(variable, 'theirs')
})

test('--verbose says each step, on stderr', async () => {
  await sqlLock(database.sql, 'steps')
  const job = start('withlock', ['steps', '--verbose', '--', 'sh', '-c', 'echo out; exit 3'])
  await database.waiter('steps')
  await sqlUnlock(database.sql, 'steps')
  const { status, stdout, stderr } = await job.ended
  assert.deepEqual([status, stdout], [3, 'out\n'])
  const steps = stderr.trimEnd().split('\n').map((line) => /^withlock: \d+\.\d{3} s: (.*)$/.exec(line)[1].replace(/\d{2,}/, 'N'))
  assert.deepEqual(steps, [
    'asks for the lock "steps"',
    'the lock "steps" is taken; waits',
    'holds the lock "steps"',
    'runs the command, the process group N',
    'the command has ended with status 3',
    'has given up the lock "steps"',
  ])
})

test('a server that cannot be reached is no lock that is taken', async () => {
  const silent = await startListener(() => {})
  const closed = await startListener((socket) => socket.destroy())
  for (const [db, code] of [
    ['postgres://user:hush@127.0.0.1:1/x', 'ECONNREFUSED'],
    [`postgres://user:hush@127.0.0.1:${closed.port}/x`, 'ECONNRESET|EPIPE'],
    [`postgres://user:hush@127.0.0.1:${silent.port}/x`, 'ETIMEDOUT'],
    ['postgres://user:hush@nowhere.invalid/x', 'ENOTFOUND|EAI_AGAIN'],
  ]) {
    for (const time of [['--timeout', '0.3'], ['--timeout', '0.3', '--shared']]) {
      const { status, stdout, stderr } = await run('withlock', ['away', '--db', db, ...time, '--conflict-exit-code', '0', '--', 'echo', 'in'])
      assert.deepEqual([status, stdout], [1, ''], stderr)
      assert.match(stderr, new RegExp(`\\((${code})\\)\n$`))
      assert.doesNotMatch(stderr, /taken|not free|hush/)
    }
  }
  const { status } = await run('withlock', ['away', '--db', 'postgres://127.0.0.1:1/x', '--try', '--conflict-exit-code', '0', '--', 'true'])
  assert.equal(status, 1)
})

test('what cannot come right by waiting ends the wait', async () => {
  const url = new URL(database.connectionString)
  url.password = 'wrong'
  const began = performance.now()
  const { status, stderr } = await run('withlock', ['wrong', '--db', url.href, '--timeout', '60', '--', 'true'])
  assert.equal(status, 1)
  assert.match(stderr, /^withlock: .*\(28P01\)\n$/)
  assert.ok(performance.now() - began < 30_000)
})

test('a wait goes on through a restart of the server', async () => {
  await sqlLock(database.sql, 'restarted')
  const jobs = [[], ['--timeout', '60']].map((options) => start('withlock', ['restarted', ...options, '--shared', '--', 'echo', 'in']))
  await database.waiter('restarted', 2)
  await server.halt('fast')
  await Promise.all(jobs.map((job) => job.complained('ECONNREFUSED')))
  await server.resume()
  for (const job of jobs) {
    const { status, stdout, stderr } = await job.ended
    assert.deepEqual([status, stdout], [0, 'in\n'])
    assert.match(stderr, /^withlock: .* \((57P0[1-3]|ECONNREFUSED|ECONNRESET|EPIPE)\); goes on trying\n(withlock: .*; goes on trying\n)*$/)
  }
  await database.open()
})

test('a server that has stayed away when the time is over is no lock that is taken', async () => {
  await sqlLock(database.sql, 'gone')
  const job = start('withlock', ['gone', '--timeout', '8', '--conflict-exit-code', '0', '--', 'echo', 'in'])
  await database.waiter('gone')
  await server.halt('fast')
  const { status, stdout, stderr } = await job.ended
  assert.deepEqual([status, stdout], [1, ''])
  assert.match(stderr, /\(ECONNREFUSED\)\n$/)
  await server.resume()
  await database.open()
})

test('a network that has gone silent during the wait is no lock that is taken, and keeps nobody', async (t) => {
  const proxy = await startProxy(database.connectionString)
  t.after(() => proxy.close())
  const env = { ...unconnected, PG_CONNECTION_STRING: proxy.connectionString }
  await sqlLock(database.sql, 'silent')
  const [limited, stopped] = [['--timeout', '8', '--conflict-exit-code', '75'], []].map((options) =>
    start('withlock', ['silent', ...options, '--', 'echo', 'in'], { env }),
  )
  await database.waiter('silent', 2)
  proxy.silence()
  const since = performance.now()
  stopped.kill('SIGTERM')
  assert.equal((await stopped.ended).status, 143)
  // It has answered nothing yet, and would be waited for for so long.
  assert.ok(performance.now() - since < 4000)
  const { status, stdout, stderr } = await limited.ended
  assert.deepEqual([status, stdout], [1, ''])
  assert.match(stderr, /no server has answered within 3 s \(ETIMEDOUT\)$/m)
  await sqlUnlock(database.sql, 'silent')
})

test('whoever waits waits for a server that is still starting', async () => {
  // It looks for an archive of its log first, and says no more than that until it has one.
  const gate = join(server.socketDirectory, 'gate')
  writeFileSync(gate, '')
  const data = join(server.socketDirectory, 'data')
  await server.halt('fast')
  appendFileSync(join(data, 'postgresql.conf'), `restore_command = 'while test -e ${gate}; do sleep 0.05; done; false'\nhot_standby = off\n`)
  writeFileSync(join(data, 'recovery.signal'), '')
  const resumed = server.resume()
  const refusal = () => database.client().then(() => undefined, ({ code }) => code)
  await until(async () => (await refusal()) === '57P03', 'it is starting')
  const jobs = [[], ['--timeout', '60']].map((options) => start('withlock', ['starting', ...options, '--', 'echo', 'in']))
  await Promise.all(jobs.map((job) => job.complained('57P03')))
  const impatient = await run('withlock', ['starting', '--try', '--', 'true'])
  assert.equal(impatient.status, 1)
  rmSync(gate)
  await resumed
  for (const job of jobs) {
    const { status, stdout, stderr } = await job.ended
    assert.deepEqual([status, stdout], [0, 'in\n'])
    assert.match(stderr, /^withlock: .* \(57P03\); goes on trying\n/)
  }
  await database.open()
})

test('a signal ends a wait for a server', async () => {
  const job = start('withlock', ['away', '--db', 'postgres://127.0.0.1:1/x', '--timeout', '60', '--', 'true'])
  await job.complained('goes on trying')
  job.kill('SIGTERM')
  assert.equal((await job.ended).status, 143)
})
