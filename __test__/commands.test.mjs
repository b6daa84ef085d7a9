// withlock and pgmutex, as a shell uses them.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { commandLine, commandsOf, node, unconnected as clean } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlTry, sqlUnlock } from './support/database.mjs'

const database = await openDatabase()
const { connectionString } = database
const { version } = createRequire(import.meta.url)('../package.json')
const path = (name) => fileURLToPath(new URL(name, import.meta.url))
const { start, run } = commandsOf(connectionString)

for (const program of ['withlock', 'pgmutex']) {
  const line = commandLine[program]
  const is = (promise) => `${program}: ${promise}`

  test(is('no password is in the list of processes'), { skip: process.platform !== 'linux' }, async () => {
    const script = `process.stdout.write(require('node:fs').readFileSync('/proc/' + process.ppid + '/cmdline'))`
    const { status, stdout } = await run(program, line('listed', [], script))
    assert.equal(status, 0)
    const { password } = new URL(connectionString)
    assert.ok(stdout.includes('listed') && !stdout.includes(password) && !stdout.includes(decodeURIComponent(password)))
  })

  test(is('the exit status is that of the command, and nothing is added to its output'), async () => {
    for (const status of [0, 1, 7, 255]) {
      const result = await run(program, line('status', [], `console.log('out'); console.error('err'); process.exit(${status})`))
      assert.deepEqual([result.status, result.stdout, result.stderr], [status, 'out\n', 'err\n'])
    }
    const { status } = await run(program, line('status', [], `process.kill(process.pid, 'SIGKILL')`))
    assert.equal(status, 128 + 9)
  })

  test(is('stdin and stdout pass through untouched'), async () => {
    const input = randomBytes(1 << 20)
    const { status, bytes, stderr } = await run(program, line('binary', [], 'process.stdin.pipe(process.stdout)'), { input })
    assert.deepEqual([status, stderr], [0, ''])
    assert.ok(bytes.equals(input))
  })

  test(is('the lock is held while the command runs, and not longer'), async () => {
    const child = start(program, line('held', [], `console.log('in'); process.stdin.resume()`), { input: null })
    await child.printed('in')
    assert.equal(await sqlTry(database.sql, 'held'), false)
    child.finish()
    assert.equal((await child.ended).status, 0)
    assert.equal(await sqlTry(database.sql, 'held'), true)
  })

  test(is('it waits for the lock; --try and --timeout give up'), async () => {
    await sqlLock(database.sql, 'taken')
    const waiting = start(program, line('taken', [], `console.log('in')`))
    await database.waiter('taken')
    for (const [options, expected] of [
      [['--try'], 1],
      [['--try', '--conflict-exit-code', '75'], 75],
      [['--timeout', '0.05', '--conflict-exit-code=0'], 0],
      [['--timeout=0'], 1],
      [['--shared', '--try', '--conflict-exit-code=9'], 9],
    ]) {
      const { status, stdout, stderr } = await run(program, line('taken', options, `console.log('in')`))
      assert.deepEqual([status, stdout], [expected, ''], options.join(' '))
      assert.match(stderr, new RegExp(`^${program}: the lock (is taken|was not free within 0.05 s)\n$`))
    }
    await sqlUnlock(database.sql, 'taken')
    assert.deepEqual((await waiting.ended).stdout, 'in\n')
    assert.equal((await run(program, line('taken', ['--try'], ''))).status, 0)
  })

  test(is('--shared runs beside others who share'), async () => {
    await sqlLock(database.sql, 'shared', '_shared')
    const { status } = await run(program, line('shared', ['--shared', '--try'], ''))
    assert.equal(status, 0)
    assert.equal((await run(program, line('shared', ['--try'], ''))).status, 1)
    await sqlUnlock(database.sql, 'shared', '_shared')
  })

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
    test(is(`${signal} reaches the command, and ends a wait`), async () => {
      const script = `process.on('${signal}', () => { console.log('got it'); process.exit(3) }); console.log('in'); setInterval(() => {}, 1000)`
      const child = start(program, line(signal, [], script))
      await child.printed('in')
      const waiting = start(program, line(signal, [], `console.log('in')`))
      await database.waiter(signal)
      waiting.kill(signal)
      const number = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 }[signal]
      const { status, stdout } = await waiting.ended
      assert.deepEqual([status, stdout], [128 + number, ''])
      child.kill(signal)
      const result = await child.ended
      assert.deepEqual([result.status, result.stdout], [3, 'in\ngot it\n'])
      const untamed = start(program, line(signal, [], `console.log('in'); setInterval(() => {}, 1000)`))
      await untamed.printed('in')
      untamed.kill(signal)
      assert.equal((await untamed.ended).status, 128 + number)
      assert.equal(await sqlTry(database.sql, signal), true)
    })
  }

  test(is('a command that is not there is 127, one that cannot be run 126'), async () => {
    const lineOf = { withlock: (file) => ['command', '--', file], pgmutex: (file) => [file] }[program]
    const missing = await run(program, lineOf('/no/such/command'))
    assert.deepEqual([missing.status, missing.stderr], [127, `${program}: /no/such/command: no such command\n`])
    const forbidden = await run(program, lineOf(path('../README.md')))
    assert.equal(forbidden.status, 126)
    assert.match(forbidden.stderr, /README.md/)
  })

  test(is('a lock that is lost ends the command, one that does not listen by force'), async () => {
    const obedient = start(program, line('lost', [], `console.log('in'); setInterval(() => {}, 1000)`))
    await obedient.printed('in')
    await database.terminate('lost')
    const result = await obedient.ended
    assert.equal(result.status, 1)
    assert.match(result.stderr, new RegExp(`^${program}: the lock is lost: .*57P01`))
    const stubborn = start(
      program,
      line('lost', [], `process.on('SIGTERM', () => console.log('not yet')); console.log('in'); setInterval(() => {}, 1000)`),
    )
    await stubborn.printed('in')
    await database.terminate('lost')
    const { status, stdout } = await stubborn.ended
    assert.deepEqual([status, stdout], [1, 'in\nnot yet\n'])
  })

  test(is('--help and --version'), async () => {
    const help = await run(program, ['--help'], { env: clean })
    assert.equal(help.status, 0)
    assert.match(help.stdout, new RegExp(`^Usage: ${program} `))
    const shown = await run(program, ['--version'], { env: clean })
    assert.deepEqual([shown.status, shown.stdout, shown.stderr], [0, `${version}\n`, ''])
  })

  test(is('wrong options are status 2'), async () => {
    for (const options of [
      ['--timeout', 'x'],
      ['--timeout', ''],
      ['--timeout=-1'],
      ['--timeout', 'Infinity'],
      ['--conflict-exit-code', '256'],
      ['--conflict-exit-code', '1.5'],
      ['--try', '--timeout', '1'],
      ['--try=yes'],
    ]) {
      const { status, stdout, stderr } = await run(program, line('wrong', options, `console.log('in')`))
      assert.deepEqual([status, stdout], [2, ''], options.join(' '))
      assert.match(stderr, new RegExp(`^${program}: .*${options[0].split('=')[0]}`))
    }
  })

  test(is('where to connect: --db, PG_CONNECTION_STRING, DATABASE_URL, PG*'), async () => {
    const nowhere = 'postgres://u:hush@127.0.0.1:1/x'
    const url = new URL(connectionString)
    const parts = {
      PGHOST: url.hostname,
      PGPORT: url.port,
      PGUSER: decodeURIComponent(url.username),
      PGPASSWORD: decodeURIComponent(url.password),
      PGDATABASE: url.pathname.slice(1),
    }
    for (const [options, env] of [
      [['--db', connectionString], { PG_CONNECTION_STRING: nowhere }],
      [[], { PG_CONNECTION_STRING: connectionString, DATABASE_URL: nowhere }],
      [[], { DATABASE_URL: connectionString, PGHOST: 'no.such.host.invalid' }],
      [[], parts],
    ]) {
      const { status, stderr } = await run(program, line('where', options, ''), { env: { ...clean, ...env } })
      assert.deepEqual([status, stderr], [0, ''])
    }
    const none = await run(program, line('where', [], ''), { env: clean })
    assert.equal(none.status, 1)
    assert.match(none.stderr, /--db.*PG_CONNECTION_STRING/)
    const refused = await run(program, line('where', ['--db', nowhere], `console.log('in')`), { env: clean })
    assert.deepEqual([refused.status, refused.stdout], [1, ''])
    assert.match(refused.stderr, /ECONNREFUSED/)
    assert.doesNotMatch(refused.stderr, /hush/)
  })
}

test('withlock: what the original answers with 1 is 1, and what is new is 2', async () => {
  const cases = [
    [['--', node], 1],
    [[], 1],
    [['name'], 1],
    [['name', '--'], 1],
    [['name', node, '-e', '0'], 1],
    [['name', 'other', '--', node], 1],
  ]
  for (const [parameters, expected] of cases) {
    for (const program of ['withlock', 'original']) {
      assert.equal((await run(program, parameters)).status, expected, `${program} ${parameters.join(' ')}`)
    }
  }
  assert.equal((await run('withlock', ['name', '--db'])).status, 2)
})

test('withlock: a command line that works with the original works here', async () => {
  const script = (status) => ['--', node, '-e', `process.exit(${status})`]
  for (const [parameters, env] of [
    [['name', ...script(0)]],
    [['name', ...script(4)]],
    [['a name with spaces, ünd "quotes"', ...script(4)]],
    [['name', '--db', connectionString, ...script(4)], clean],
    [['--db', connectionString, 'name', ...script(4)], clean],
    [[`--db=${connectionString}`, 'name', ...script(4)], clean],
    [['name', '--db=', ...script(4)]],
    [['name', '--verbose', ...script(4)]],
    [['--level', '5', 'name', ...script(4)]],
    [['name', '-v', ...script(4)]],
    [['name', '--', node, '-e', 'process.exit(process.argv.length)', '--', 'x', '--', '--db']],
  ]) {
    const [theirs, ours] = [await run('original', parameters, { env }), await run('withlock', parameters, { env })]
    assert.equal(ours.status, theirs.status, parameters.join(' '))
    assert.equal(ours.stdout, '')
  }
})

test('pgmutex: the name is the command line unless one is given', async () => {
  const child = start('pgmutex', [node, '-e', `console.log('in');process.stdin.resume()`], { input: null })
  await child.printed('in')
  assert.equal(await sqlTry(database.sql, `${node} -e console.log('in');process.stdin.resume()`), false)
  child.finish()
  assert.equal((await child.ended).status, 0)
  const behind = await run('pgmutex', ['--try', '--', node, '-e', 'console.log(process.argv.slice(1).join())', '--', '--try', '--name'])
  assert.deepEqual([behind.status, behind.stdout], [0, '--try,--name\n'])
  for (const parameters of [[], ['--try'], ['--'], ['--name'], ['--nmae', 'x', node], ['-x', node]]) {
    assert.equal((await run('pgmutex', parameters)).status, 2, parameters.join(' '))
  }
})
