// Logging in: by variables alone, with a password from a file, with settings for the session.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import advisoryLock from '../index.js'
import { password, startServer, user } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { runChild } from './support/process.mjs'

const server = await startServer()
after(() => server.stop())
const database = await openDatabase(server)
const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-login-'))
after(() => rmSync(folder, { recursive: true }))

/** A process that takes a lock in this environment: what it prints. */
async function outcome(connectionString, variables, script = 'outcome') {
  const env = { PGHOST: '', PGPORT: '', PGUSER: '', PGDATABASE: '', HOME: folder, PGPASSFILE: '', ...variables }
  for (const name of ['PGPASSWORD', 'PG_CONNECTION_STRING']) env[name] ??= undefined
  const { stdout, stderr } = await runChild(script, [connectionString], { env })
  assert.ok(!`${stdout}${stderr}`.includes(password))
  return stdout.trim()
}

const where = { PGHOST: '127.0.0.1', PGPORT: String(server.port), PGUSER: user, PGDATABASE: 'postgres' }
const bare = `postgres://${user}@127.0.0.1:${server.port}/postgres`

test('variables alone are enough', async () => {
  assert.equal(await outcome('', { ...where, PGPASSWORD: password }), 'ok')
  assert.equal(await outcome('', { ...where, PGPASSWORD: 'wrong' }), '28P01')
  assert.equal(await outcome('', { ...where, PGHOST: server.socketDirectory, PGPASSWORD: password }), 'ok')
  assert.equal(await outcome('', { ...where, PGDATABASE: 'no_such', PGPASSWORD: password }), '3D000')
})

test("the variables are those of `process.env`: of a worker's own, and of a test runner's that puts another object there", async () => {
  const variables = { ...where, PGPASSWORD: password }
  const code = `
    const { workerData } = require('node:worker_threads')
    Object.assign(process.env, workerData.later)
    const createMutex = require(workerData.index)('')
    createMutex('of a worker').lock().then((unlock) => unlock()).then(() => createMutex.close())`
  const index = fileURLToPath(new URL('../index.js', import.meta.url))
  for (const [env, later] of [[variables, {}], [{}, variables]]) {
    const worker = new Worker(code, { eval: true, env, workerData: { index, later } })
    assert.deepEqual(await once(worker, 'exit'), [0])
  }
  const whole = process.env
  try {
    process.env = { ...whole, ...variables }
    const createMutex = advisoryLock('')
    process.env = whole
    const unlock = await createMutex('with variables').lock()
    await unlock()
    await createMutex.close()
  } finally {
    process.env = whole
  }
})

let count = 0
function passwordFile(lines, mode = 0o600) {
  const path = join(folder, `passwords-${count++}`)
  writeFileSync(path, lines.join('\n'), { mode })
  return path
}

const secret = password.replaceAll(/[\\:]/g, '\\$&')
const right = `*:*:*:*:${secret}`
const OK = 'ok'
const NONE = '28P01'

for (const [title, lines, expected] of [
  ['has a line for everything', [right], OK],
  ['has a line for this', ['# a comment', '', `127.0.0.1:${server.port}:postgres:${user}:${secret}`], OK],
  ['has the right line behind those for others', [`127.0.0.1:1:*:*:no`, `other:*:*:*:no`, `*:*:other:*:no`, `*:*:*:other:no`, right], OK],
  ['has lines for others only', [`other:*:*:*:${secret}`], NONE],
  ['has no whole line', ['127.0.0.1:5432', ':::', right.slice(2)], NONE],
  ['is empty', [], NONE],
]) {
  test(`a password file that ${title}: the same as to pg`, async () => {
    const PGPASSFILE = passwordFile(lines)
    assert.equal(await outcome(bare, { PGPASSFILE }), expected)
    const toPg = await outcome(bare, { PGPASSFILE }, 'outcome-of-pg')
    // `pg` fails without a password by an error that has no code.
    assert.equal(toPg === OK, expected === OK, toPg)
  })
}

test('of several lines that fit the first counts, as PostgreSQL has it; to pg it is the last', async () => {
  const files = [passwordFile([right, '*:*:*:*:wrong']), passwordFile(['*:*:*:*:wrong', right])]
  for (const [script, expected] of [['outcome', [OK, NONE]], ['outcome-of-pg', [NONE, OK]]]) {
    for (const [index, PGPASSFILE] of files.entries()) assert.equal(await outcome(bare, { PGPASSFILE }, script), expected[index], script)
  }
})

test('where the file is: named in the string, by the variable, or the own one', async () => {
  const [good, bad] = [passwordFile([right]), passwordFile(['*:*:*:*:wrong'])]
  assert.equal(await outcome(`${bare}?passfile=${good}`, { PGPASSFILE: bad }), OK)
  assert.equal(await outcome(bare, { PGPASSFILE: bad }), NONE)
  assert.equal(await outcome(bare, { PGPASSFILE: join(folder, 'none') }), NONE)
  if (process.platform !== 'win32') {
    writeFileSync(join(folder, '.pgpass'), right, { mode: 0o600 })
    assert.equal(await outcome(bare, {}), OK)
    assert.equal(await outcome(bare, { PGPASSWORD: '' }), NONE, 'said to be empty, as to `pg`')
    assert.equal(await outcome(bare, { PGPASSWORD: 'wrong' }), NONE, 'the file is the last resort')
  }
})

test('a password file that others can read is not used, and the error says so', { skip: process.platform === 'win32' }, async () => {
  for (const mode of [0o640, 0o604, 0o620, 0o666]) {
    const path = passwordFile([right], mode)
    // The process's mask may have taken the bits away.
    chmodSync(path, mode)
    const createMutex = advisoryLock(`${bare}?passfile=${path}`)
    await assert.rejects(createMutex('x').tryLock(), (error) => {
      assert.equal(error.code, NONE)
      assert.ok(error.message.includes(path) && error.message.includes('0600'), error.message)
      return true
    })
    await createMutex.close()
    assert.notEqual(await outcome(bare, { PGPASSFILE: path }, 'outcome-of-pg'), OK)
  }
  const folderInPlace = advisoryLock(`${bare}?passfile=${folder}`)
  await assert.rejects(folderInPlace('x').tryLock(), { code: NONE, message: /not a plain file/ })
  await folderInPlace.close()
})

test('requirepeer: who runs the server at a unix socket', { skip: process.platform === 'win32' }, async () => {
  const { uid } = await stat(server.socketDirectory)
  const owner = execFileSync('id', ['-un', String(uid)], { encoding: 'utf8' }).trim()
  const bySocket = (more) => `host=${server.socketDirectory} port=${server.port} user=${user} password='${password}' ${more}`
  assert.equal(await outcome(bySocket(`requirepeer=${owner}`), {}), OK)
  assert.equal(await outcome(bySocket(`requirepeer=${owner}x`), {}), 'ERR_WRONG_SERVER')
  assert.equal(await outcome(bySocket('requirepeer=nobody'), {}), 'ERR_WRONG_SERVER')
  assert.equal(await outcome(bySocket(''), { PGREQUIREPEER: 'nobody' }), 'ERR_WRONG_SERVER')
  assert.equal(await outcome(bySocket(''), { PGREQUIREPEER: owner }), OK)
  const { stderr } = await runChild('outcome', [bySocket('requirepeer=nobody')], { env: { NODE_DEBUG: 'advisory-lock' } })
  assert.ok(stderr.includes(`run by ${owner}`), stderr)
})

test('a parameter that asks for more safety is refused by name where it cannot be met', async () => {
  for (const [variable, value] of Object.entries({
    PGSSLCRL: '/crl', PGSSLCRLDIR: '/crl', PGGSSENCMODE: 'require', PGSSLCERTMODE: 'require', PGSSLMINPROTOCOLVERSION: 'TLSv1.3',
    PGREQUIREPEER: 'postgres', PGCHANNELBINDING: 'require', PGMINPROTOCOLVERSION: '3.2', PGREQUIREAUTH: 'kerberos',
  })) {
    const env = { ...where, PGPASSWORD: password, [variable]: value, NODE_DEBUG: 'advisory-lock' }
    const { stdout, stderr } = await runChild('outcome', [''], { env })
    assert.equal(stdout.trim(), 'ERR_INVALID_CONNECTION_STRING', variable)
    assert.ok(stderr.includes(variable) && !stderr.includes(password), stderr)
  }
})

test('a password file that is changed counts for the next connection', async () => {
  const path = passwordFile(['*:*:*:*:wrong'])
  const createMutex = advisoryLock(`${bare}?passfile=${path}`)
  await assert.rejects(createMutex('x').tryLock(), { code: NONE })
  writeFileSync(path, right)
  assert.equal(await createMutex('x').tryLock(), true)
  await createMutex.close()
})

test('names and settings reach the server, and are not set over', async () => {
  const withQuery = (query) => `${database.connectionString}?${query}`
  /** How long each of some turns of a wait has lasted, in milliseconds: the server's queue is joined anew after it. */
  const turns = async (connectionString) => {
    await sqlLock(database.sql, 'limited')
    const createMutex = advisoryLock(connectionString)
    const wait = createMutex('limited').lock({ timeout: 30_000 })
    const joined = []
    await until(async () => {
      const since = await database.value(`SELECT extract(epoch FROM waitstart)::float8 * 1000 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)
      if (since && since !== joined.at(-1)) joined.push(since)
      return joined.length === 4
    }, 'four turns')
    const names = await database.value(`SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'limited'`)
    await sqlUnlock(database.sql, 'limited')
    assert.equal(await (await wait)(), true, 'and the wait goes on all the same')
    await createMutex.close()
    return { lasted: joined.slice(1).map((time, index) => time - joined[index]), names }
  }
  for (const query of ['statement_timeout=150&application_name=limited', 'options=-c%20statement_timeout%3D150&fallback_application_name=limited']) {
    const { lasted, names } = await turns(withQuery(query))
    assert.ok(names >= 1)
    assert.ok(Math.min(...lasted) < 500, `${query}: ${lasted}`)
  }
  const { lasted } = await turns(withQuery('lock_timeout=150'))
  assert.ok(Math.min(...lasted) > 500, `no other limit is set: ${lasted}`)
})

test('what the database says to whoever logs in may be long, and a refusal keeps its code', async (t) => {
  if ((await database.value("SELECT current_setting('server_version_num')::int")) < 170_000) return t.skip('login triggers are of PostgreSQL 17')
  const greet = async (what) => {
    await database.sql.query(`CREATE OR REPLACE FUNCTION greet() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN ${what}; END $$`)
    const createMutex = advisoryLock(database.connectionString)
    try {
      return await createMutex('greeted').withLock(() => 'works')
    } catch (error) {
      return error
    } finally {
      await createMutex.close()
    }
  }
  assert.equal(await greet('NULL'), 'works')
  await database.sql.query('CREATE EVENT TRIGGER greet ON login EXECUTE FUNCTION greet()')
  t.after(() => database.sql.query('DROP EVENT TRIGGER greet'))
  assert.equal(await greet("RAISE NOTICE 'hello'"), 'works')
  assert.equal(await greet("RAISE NOTICE '%', repeat('x', 40000)"), 'works')
  assert.equal(await greet("FOR i IN 1..3 LOOP RAISE NOTICE '%', repeat('x', 1000000); END LOOP"), 'works')
  assert.equal(await greet("PERFORM set_config('search_path', repeat('x,', 30000) || 'x', false)"), 'works', 'a setting, which PostgreSQL 18 reports')
  const refusal = await greet("RAISE EXCEPTION 'no: %', repeat('x', 40000)")
  assert.equal(refusal.code, 'P0001')
  assert.match(refusal.message, /^no: x{8000}/)
  assert.ok(refusal.message.length < 10_000, 'and is cut')
})
