// pglocks: who holds which lock of a database and who waits for it, of this package and of anybody else.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import contract1 from '../index.js'
import advisoryLock from '../v2.js'
import { commandsOf, node, programs, unconnected } from './support/commands.mjs'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until, untilSeen } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startProxy } from './support/proxy.mjs'
import { keys, onTerminal } from './support/terminal.mjs'

const require = createRequire(import.meta.url)
const { cutInTheMiddle, escaped, widthOf } = require('../lib/command/text.js')
const server = await startServer({ max_prepared_transactions: 3 })
after(() => server.stop())
const database = await openDatabase(server)
const { start, run } = commandsOf(database.connectionString)
const key = (name) => contract1.strToKey(name)
const connected = { ...unconnected, PG_CONNECTION_STRING: database.connectionString, PATH: process.env.PATH }

function owner(t, options, entry = advisoryLock) {
  const createMutex = entry(database.connectionString, options)
  t.after(() => createMutex.close())
  return createMutex
}

/** Until a session says the names of what it holds. */
const said = (name) =>
  until(() => database.value(`SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '/* advisory-lock: %' || $1 || '%'`, [name]), `${name} is said`)

async function json(...parameters) {
  const { status, stdout, stderr } = await run('pglocks', ['--json', ...parameters])
  assert.deepEqual([status, stderr], [0, ''])
  return JSON.parse(stdout)
}

const rows = (stdout) => stdout.split('\n\n')[0].split('\n').slice(1).map((line) => line.split(/ {2,}/))

test('nobody holds anything', async () => {
  assert.deepEqual(await run('pglocks', []), { status: 0, signal: null, bytes: Buffer.from('Nobody holds an advisory lock of this database.\n'), stdout: 'Nobody holds an advisory lock of this database.\n', stderr: '' })
  assert.deepEqual(await json(), [])
  assert.equal((await run('pglocks', ['nightly', 'a b '])).stdout, 'nightly: free\n"a b ": free\n')
})

/** Between two turns a wait is in no queue for a moment. */
const showing = (look, shows) => untilSeen(look, shows, 'who waits is shown')

test('sessions of this package and of others, with names where they are known', async (t) => {
  const clock = owner(t, { applicationName: 'clock' })
  const unlocks = [await clock('migrations').lock(), await clock('post stats').lockShared(), await clock([7, -8]).lock()]
  await said('migrations')
  const web = owner(t, { applicationName: 'web' })
  const wait = web('migrations').lock()
  await database.waiter('migrations')
  const plain = await database.client()
  t.after(() => plain.query('SELECT pg_advisory_unlock_all()'))
  await plain.query('SELECT pg_advisory_lock(-42), pg_advisory_lock_shared(5, 6)')
  const pid = Object.fromEntries((await database.sql.query('SELECT application_name, pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = \'advisory\'')).rows.map((row) => [row.application_name, row.pid]))

  const { status, stdout, stderr } = await showing(() => run('pglocks', []), (result) => / waits /.test(result.stdout))
  assert.deepEqual([status, stderr], [0, ''])
  const table = rows(stdout)
  const address = '127.0.0.1'
  assert.deepEqual(
    table.map((row) => row.slice(0, 6)),
    [
      ['migrations', 'holds', 'exclusive', String(pid.clock), 'clock', address],
      ['migrations', 'waits', 'exclusive', String(pid.web), 'web', address],
      ['post stats', 'holds', 'shared', String(pid.clock), 'clock', address],
      ['[5, 6]', 'holds', 'shared', String(pid['plain client']), 'plain client', address],
      ['[7, -8]', 'holds', 'exclusive', String(pid.clock), 'clock', address],
      ['-42n', 'holds', 'exclusive', String(pid['plain client']), 'plain client', address],
    ],
  )
  for (const [lock, state, , , , , since] of table) assert.match(since, state === 'holds' ? /^<\d+(s|m\d+s)$/ : /^\d+s$/, lock)
  assert.ok(stdout.split('\n').every((line) => line.length <= 80))
  for (const name of ['clock', 'plain client']) assert.ok(stdout.includes(`  SELECT pg_terminate_backend(${pid[name]});\n`))
  assert.ok(!stdout.includes(`SELECT pg_terminate_backend(${pid.web})`), 'who waits is in nobody\'s way')

  const all = await showing(json, (uses) => uses.some(({ granted }) => !granted))
  assert.equal(all.length, 6)
  const [holder, waiter] = all
  assert.deepEqual({ ...holder, connectedSince: undefined }, {
    name: 'migrations', part: null, key: key('migrations'), granted: true, mode: 'exclusive', pid: pid.clock, application: 'clock',
    address, waitingSince: null, connectedSince: undefined, preparedTransaction: null, terminate: `SELECT pg_terminate_backend(${pid.clock});`,
  })
  assert.ok(Math.abs(Date.parse(holder.connectedSince) - Date.now()) < 120_000 && Math.abs(Date.parse(waiter.waitingSince) - Date.now()) < 120_000)
  assert.deepEqual([waiter.granted, waiter.pid], [false, pid.web])
  assert.deepEqual(all.map((use) => use.key), [key('migrations'), key('migrations'), key('post stats'), [5, 6], [7, -8], '-42'])

  assert.deepEqual((await json('post stats', 'nothing')).map(({ name, mode }) => [name, mode]), [['post stats', 'shared']])
  const { stdout: some } = await run('pglocks', ['post stats', 'nothing'])
  assert.match(some, /^LOCK .*\npost stats .*\nnothing: free\n\nTo end /)
  assert.equal(await clock('migrations').tryLock(), undefined, 'nothing was ended')
  for (const unlock of unlocks) await unlock()
  await (await wait)()
})

test('a name that is given is known without anybody saying it', async (t) => {
  const createMutex = owner(t, { publishNames: false })
  await createMutex('unsaid').lock()
  await createMutex.semaphore('unsaid pool', 2).lock()
  assert.ok((await json()).every(({ name }) => name === null))
  assert.deepEqual((await json('unsaid', 'unsaid pool')).map(({ name, part }) => [name, part?.replace(/\d/, 'n') ?? null]), [['unsaid', null], ['unsaid pool', 'slot n']])
})

test('permits; and the keys by which the package keeps its own order are left out', async (t) => {
  const createMutex = owner(t, {}, contract1)
  await createMutex.semaphore('pool', 2).lock()
  await createMutex('held').lock()
  await said('pool')
  // With connections of its own, as another process has.
  const rival = owner(t, { applicationName: 'rival' }, contract1)
  await rival('mine').lock()
  // Waits that are linked: an owner waits for one lock and holds another, which somebody waits for.
  const third = owner(t, { applicationName: 'third' }, contract1)
  for (const wait of [rival('held').lock(), third('mine').lock()]) wait.catch(() => {})
  await until(() => database.value(`SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock'`), 'links are there')
  await said('mine')
  const all = await showing(json, (uses) => uses.filter(({ granted }) => !granted).length === 2)
  assert.deepEqual(all.map(({ name, part, granted }) => [name, part?.replace(/\d/, 'n') ?? null, granted]), [
    ['held', null, true], ['held', null, false], ['mine', null, true], ['mine', null, false], ['pool', 'slot n', true],
  ])
  assert.match((await run('pglocks', [])).stdout, /^pool \(slot \d\) +holds/m)
})

test('a prepared transaction, of which the session is gone, also one with a fence', async (t) => {
  const locks = owner(t)
  const unlock = await locks('fenced').lock({ fencing: true })
  const client = await database.client()
  const names = [`of "somebody's"`, 'é\\\x1b[31m', 'fenced']
  const quoted = (name) => client.escapeLiteral(name)
  for (const [name, statement] of [
    [names[0], `SELECT pg_advisory_xact_lock(${key('prepared')})`],
    [names[1], 'SELECT pg_advisory_xact_lock_shared(77)'],
    [names[2], unlock.fence],
  ]) {
    await client.query('BEGIN')
    await client.query(statement)
    await client.query(`PREPARE TRANSACTION ${quoted(name)}`)
  }
  t.after(async () => {
    const { rows: left } = await database.sql.query('SELECT gid FROM pg_prepared_xacts')
    for (const { gid } of left) await database.sql.query(`ROLLBACK PREPARED ${quoted(gid)}`)
  })
  const uses = await json('prepared')
  assert.deepEqual(uses, [{
    name: 'prepared', part: null, key: key('prepared'), granted: true, mode: 'exclusive', pid: null, application: null, address: null,
    waitingSince: null, connectedSince: null, preparedTransaction: names[0], terminate: `ROLLBACK PREPARED 'of "somebody''s"';`,
  }])
  const { status, stdout, stderr } = await run('pglocks', ['prepared'])
  assert.deepEqual([status, stderr], [0, ''])
  assert.deepEqual(rows(stdout), [['prepared', 'holds', 'exclusive', '-', `prepared ${names[0]}`, '-', '-']])
  assert.ok(stdout.endsWith(`\n\nTo end a prepared transaction, which undoes what it has done:\n  ROLLBACK PREPARED 'of "somebody''s"';\n`), stdout)
  const all = await run('pglocks', [])
  assert.equal(all.status, 0)
  assert.doesNotMatch(all.stdout, /[^\P{C}\n]/u)
  assert.match(all.stdout, /^To end a session that holds, with all its locks:\n {2}SELECT pg_terminate_backend\(\d+\);$/m)
  // Each line does what it says.
  const endings = (await json()).flatMap(({ pid, terminate }) => (pid === null ? [terminate] : []))
  assert.equal(endings.length, 3)
  for (const statement of endings) await client.query(statement)
  assert.deepEqual((await json()).map(({ name }) => name), ['fenced', null])
  await unlock()
})

test('a role that may not see others sees what it may, and a word on that', async (t) => {
  await database.sql.query(`CREATE ROLE onlooker LOGIN PASSWORD 'onlooker'`)
  t.after(() => database.sql.query('DROP ROLE onlooker'))
  const createMutex = owner(t, { applicationName: 'unseen' })
  await createMutex('migrations').lock()
  await said('migrations')
  const url = new URL(database.connectionString)
  url.username = url.password = 'onlooker'
  const asOnlooker = (...parameters) => run('pglocks', ['--db', url.href, ...parameters])
  const { status, stdout, stderr } = await asOnlooker()
  assert.deepEqual([status, stderr], [0, ''])
  const [[lock, state, , , , address, since]] = rows(stdout)
  assert.deepEqual([lock, state, address, since], [`[${key('migrations').join(', ')}]`, 'holds', '-', '-'])
  assert.match(stdout, /\n1 session is of other roles: .*\n.*pg_read_all_stats\.\n$/)
  assert.equal(rows((await asOnlooker('migrations')).stdout)[0][0], 'migrations')
  const told = await asOnlooker('--json')
  assert.match(told.stderr, /^pglocks: 1 session is of other roles: .*pg_read_all_stats\.\n$/)
  assert.deepEqual(JSON.parse(told.stdout).map(({ address: none, connectedSince }) => [none, connectedSince]), [[null, null]])
  await database.sql.query('GRANT pg_read_all_stats TO onlooker')
  assert.equal(rows((await asOnlooker()).stdout)[0][0], 'migrations')
})

test('what is said in other databases, and bytes that are no text, are in nobody\'s way', async (t) => {
  const open = async (name, encoding) => {
    await database.sql.query(`CREATE DATABASE ${name} ENCODING '${encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`)
    const url = Object.assign(new URL(database.connectionString), { pathname: `/${name}` }).href
    t.after(() => database.sql.query(`DROP DATABASE ${name} WITH (FORCE)`))
    return { url, client: await database.client(url) }
  }
  const [latin, bytes, cyrillic] = [await open('latin', 'LATIN1'), await open('bytes', 'SQL_ASCII'), await open('cyrillic', 'WIN1251')]
  const asSaid = (client, text) => {
    client.query(`/* advisory-lock: ${text} */ SELECT pg_advisory_lock(5), pg_sleep(60)`).catch(() => {})
    return until(() => database.value(`SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = $1`, [client.processID]), 'it is said')
  }
  await asSaid(latin.client, 'éé')
  await asSaid(await database.client(latin.url), `${'x'.repeat(980)}é`)
  await asSaid(await database.client(bytes.url), 'é'.repeat(600))
  const unlock = await owner(t)('migrations').lock()
  await said('migrations')
  assert.deepEqual((await json()).map(({ name }) => name), ['migrations'])
  await unlock()

  await bytes.client.query(`SET client_encoding TO 'SQL_ASCII'`)
  for (const { client, url } of [bytes, cyrillic]) {
    await client.query(`BEGIN; SELECT pg_advisory_xact_lock(6); PREPARE TRANSACTION E'g\\x98'`)
    const { status, stdout, stderr } = await run('pglocks', ['--json', '--db', url])
    assert.deepEqual([status, stderr], [0, ''])
    assert.deepEqual(JSON.parse(stdout).map(({ key: one, preparedTransaction }) => [one, preparedTransaction]).slice(-1), [['6', 'g\uFFFD']])
    await client.query(`ROLLBACK PREPARED E'g\\x98'`)
  }
})

test('nothing of others attacks the terminal, and no line is wider than it', async (t) => {
  const names = [
    '\x1b[2J\x1b]0;title\x07', 'tab\tand\r\nlines', '\x9b31m', '\u202Eevil', 'zero\u200Bwidth', '\u2028', 'nul\0', '日本語の名前がここにありますとても長い', '🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒🔒',
    'e\u0301'.repeat(60), '\u0301', 'x'.repeat(300), ' spaces ', '', '"quoted"', '[1, 2]', '5n', 'pool (slot 1)', 'back\\slash', '\uD800', '\uE000',
  ]
  const createMutex = owner(t, { applicationName: 'an application with a name that is very long indeed, as some are' })
  for (const name of names) await createMutex(name).lock()
  const forger = await database.client()
  t.after(() => forger.query('SELECT pg_advisory_unlock_all()'))
  // It may say what it likes of its own locks, and nothing of others'.
  await forger.query(`/* advisory-lock: forged, %zz, ${encodeURIComponent('forged too')}, a#b#c, %00%1B[2J, #, é\x1b[31m`
    + ` */ SELECT pg_advisory_lock(${key('forged')}), pg_advisory_lock(1, 2)`)
  const given = names.flatMap((name) => (name === '' ? [] : [name.replace('\0', '').replace('\uD800', '\uFFFD')]))
  const { status, stdout } = await run('pglocks', [])
  assert.equal(status, 0)
  assert.doesNotMatch(stdout, /[^\P{C}\n]/u, 'no control and no format characters')
  for (const line of stdout.split('\n')) assert.ok(widthOf(line) <= 80, `${widthOf(line)}: ${line}`)
  assert.match(stdout, /^forged +holds/m)
  assert.match(stdout, /^\[1, 2\] +holds/m)
  assert.doesNotMatch(stdout, /forged too/)
  const named = await run('pglocks', given)
  assert.equal(named.status, 0)
  assert.doesNotMatch(named.stdout, /[^\P{C}\n]/u)
  assert.match(named.stdout, /^\\x1b\[2J\\/m)
  assert.match(named.stdout, /^"5n" +holds/m)
  const listed = await run('pglocks', ['--json', ...given])
  assert.doesNotMatch(listed.stdout, /[^\P{C}\n]|[\p{Cf}\x7f-\x9f\u2028]/u)
  assert.deepEqual(new Set(JSON.parse(listed.stdout).map(({ name }) => name)), new Set(given.filter((name) => name !== 'nul')))
})

test('texts: what is escaped, how wide it is, and how it is cut', () => {
  assert.equal(escaped('a\x1b\n\x7f\x9b\u202e\u{e0001}\ud800\\é日'), 'a\\x1b\\x0a\\x7f\\x9b\\u202e\\u{e0001}\\ud800\\\\é日')
  for (const [text, width] of [['', 0], ['abc', 3], ['é', 1], ['e\u0301', 1], ['日本', 4], ['한글', 4], ['ｆｕ', 4], ['🔒', 2], ['…', 1], ['±', 1]]) {
    assert.equal(widthOf(text), width, text)
  }
  assert.equal(cutInTheMiddle('abcdefgh', 8), 'abcdefgh')
  assert.equal(cutInTheMiddle('abcdefghi', 8), 'abcd…ghi')
  assert.equal(cutInTheMiddle('日本語日本語', 8), '日本…語')
  assert.equal(cutInTheMiddle('日本語日本語', 9), '日本…本語')
  for (const text of ['日a本b語c日d本e語', 'e\u0301'.repeat(20), '🔒'.repeat(20), 'x'.repeat(30)]) {
    for (let columns = 2; columns < 20; columns++) {
      const cut = cutInTheMiddle(text, columns)
      assert.ok(widthOf(cut) <= columns && widthOf(cut) >= columns - 2, `${columns}: ${cut}`)
      assert.doesNotMatch(cut, /…\p{M}/u)
    }
  }
})

test('--watch tells a pipe only what has changed, and nothing that a terminal understands', async (t) => {
  const createMutex = owner(t, { applicationName: 'changing' })
  const unlock = await createMutex('first').lock()
  await said('first')
  const watching = start('pglocks', ['--watch'])
  await watching.printed('first')
  await unlock()
  await watching.printed('Nobody holds')
  await createMutex('second').lock()
  await said('second')
  await watching.printed('second')
  watching.kill('SIGTERM')
  const { status, stdout, stderr } = await watching.ended
  assert.deepEqual([status, stderr], [143, ''])
  assert.ok(!stdout.includes('\x1b'))
  assert.equal(stdout.match(/first/g).length, 1, 'what stays as it is is told once')
})

test('--watch --json: a line for each change', async (t) => {
  const createMutex = owner(t)
  const watching = start('pglocks', ['--watch', '--json', 'counted'])
  await watching.printed('[]\n')
  const unlock = await createMutex('counted').lock()
  await watching.printed('"counted"')
  await unlock()
  await watching.printed(']\n[]\n')
  watching.kill('SIGINT')
  const { status, stdout } = await watching.ended
  assert.equal(status, 130)
  assert.deepEqual(stdout.trimEnd().split('\n').map((line) => JSON.parse(line).length), [0, 1, 0])
})

test('--watch ends where nobody reads on', async () => {
  const command = `"$0" "$1" --watch | head -n 1`
  const child = spawn('sh', ['-c', command, node, programs.pglocks], { env: connected })
  const output = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => output.push(data))
  const held = advisoryLock(database.connectionString)
  const closed = once(child, 'close')
  await until(() => output.length > 0, 'the first line')
  await held('changes').lock()
  assert.deepEqual(await closed, [0, null])
  assert.equal(Buffer.concat(output).toString(), 'Nobody holds an advisory lock of this database.\n')
  await held.close()
})

test('--watch goes on through a server that is away', async (t) => {
  const proxy = await startProxy(database.connectionString)
  t.after(() => proxy.close())
  const watching = start('pglocks', ['--watch', '--db', proxy.connectionString])
  await watching.printed('Nobody holds')
  proxy.refuse()
  proxy.cut()
  await watching.complained('goes on trying')
  const createMutex = owner(t)
  await createMutex('meanwhile').lock()
  await said('meanwhile')
  await proxy.admit()
  await watching.printed('meanwhile')
  watching.kill('SIGTERM')
  const { stderr } = await watching.ended
  assert.match(stderr, /^(pglocks: .* \([A-Z0-9]+\); goes on trying\n)+$/)
})

test('--watch on a terminal: in place, until Ctrl-C', async (t) => {
  const createMutex = owner(t, { applicationName: 'shown' })
  const unlock = await createMutex('seen').lock()
  await said('seen')
  const terminal = onTerminal([node, programs.pglocks, '--watch'], connected)
  await terminal.shows('seen')
  await unlock()
  await terminal.shows('\x1b[5A')
  await terminal.shows('Nobody holds')
  await createMutex('next').lock()
  await said('next')
  await terminal.shows('\x1b[1A')
  await terminal.shows('next')
  terminal.type(keys.interrupt)
  assert.equal(await terminal.ended, 130)
  assert.ok(terminal.shown.includes('\x1b[K') && terminal.shown.includes('\x1b[J'))
})

test('more than there is room for on a terminal', async (t) => {
  const createMutex = owner(t)
  for (let number = 0; number < 50; number++) await createMutex([number, 0]).lock()
  const terminal = onTerminal(['sh', '-c', 'stty rows 20 cols 60; exec "$0" "$1" --watch', node, programs.pglocks], connected)
  await terminal.shows('lines more')
  await terminal.shows('\x1b[19A')
  terminal.type(keys.interrupt)
  assert.equal(await terminal.ended, 130)
  const first = terminal.shown.slice(0, terminal.shown.indexOf('\x1b[19A'))
  const lines = first.split('\r\n').map((line) => line.replaceAll(/\P{L}\[\d*[A-Z]|\r/gu, ''))
  assert.deepEqual(lines.filter((line) => line.length > 60), [], 'as wide as the terminal')
  assert.equal(lines.length, 20)
})

test('what cannot be done is said in a line', async () => {
  const fails = async (parameters, status, pattern, env) => {
    const outcome = await run('pglocks', parameters, env && { env })
    assert.deepEqual([outcome.status, outcome.stdout], [status, ''], parameters.join(' '))
    assert.match(outcome.stderr, pattern)
    assert.ok(!/hush/.test(outcome.stderr))
  }
  await fails(['--wacth'], 2, /^pglocks: there is no option --wacth: is it --watch\?\nTry pglocks --help\n$/)
  await fails(['--quiet'], 2, /^pglocks: there is no option --quiet\n/)
  await fails(['-x'], 2, /^pglocks: there is no option -x\n/)
  await fails(['--json=5'], 2, /^pglocks: --json takes no value\n/)
  await fails(['--db'], 2, /^pglocks: --db needs a value\n/)
  await fails([''], 2, /^pglocks: the lock name is empty\n/)
  await fails([], 1, /^pglocks: no --db is given/, unconnected)
  await fails(['--db', 'postgres://u:hush@127.0.0.1:1/x'], 1, /^pglocks: ECONNREFUSED .*\(ECONNREFUSED\)\n$/)
  await fails(['--watch', '--db', 'postgres://u:hush@127.0.0.1:1/x'], 1, /^pglocks: ECONNREFUSED .*\(ECONNREFUSED\)\n$/)
  const nowhere = new URL(database.connectionString)
  nowhere.pathname = '/no_such_database'
  await fails(['--db', nowhere.href], 1, /\(3D000\)\n$/)
})

test('through a transaction pooler too, as it holds nothing', async (t) => {
  const pooler = await startPgBouncer(database.connectionString, 'transaction')
  t.after(() => pooler.stop())
  await owner(t, { applicationName: 'direct' })('behind a pooler').lock()
  await said('behind a pooler')
  for (const more of ['', `${pooler.connectionString.includes('?') ? '&' : '?'}pgbouncer=true`]) {
    const { status, stdout, stderr } = await run('pglocks', ['--db', pooler.connectionString + more])
    assert.deepEqual([status, stderr], [0, ''])
    assert.deepEqual(rows(stdout)[0].slice(0, 3), ['behind a pooler', 'holds', 'exclusive'])
  }
})

test('help, version, and the verb of the one command', async () => {
  const { stdout, status } = await run('pglocks', ['--help'], { env: unconnected })
  assert.equal(status, 0)
  assert.match(stdout, /^Usage: pglocks \[options\] \[name\.\.\.\]\n/)
  for (const option of ['--db', '--watch', '--json', '--help', '--version']) assert.ok(stdout.includes(option))
  assert.equal((await run('pglocks', ['--version'], { env: unconnected })).stdout, `${require('../package.json').version}\n`)
  assert.equal((await run('advisory-lock-native', ['pglocks', 'x'])).stdout, 'x: free\n')
  await sqlLock(database.sql, 'x')
  assert.equal((await run('advisory-lock-native', ['pglocks', '--', 'x'])).stdout.includes('plain client'), true)
  await sqlUnlock(database.sql, 'x')
})
