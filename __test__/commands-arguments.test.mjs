// The command lines of withlock and pgmutex: what is refused, what is ignored, and what the command sees of its lock.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { commandLine, commandsOf, node, programs, unconnected } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlTry, sqlUnlock } from './support/database.mjs'

const database = await openDatabase()
const { start, run } = commandsOf(database.connectionString)
const { version } = createRequire(import.meta.url)('../package.json')
const say = (text) => ['--', 'echo', text]

test('a near miss of an option is an error that names the option', async () => {
  for (const [parameters, meant] of [
    [['--tyr'], 'try'],
    [['--tr'], 'try'],
    [['-try'], 'try'],
    [['--TRY'], 'try'],
    [['--dry'], 'try'],
    [['--time', '5'], 'timeout'],
    [['--timout=5'], 'timeout'],
    [['--time-out', '5'], 'timeout'],
    [['-timeout', '5'], 'timeout'],
    [['--conflict-exit', '0'], 'conflict-exit-code'],
    [['--conflict_exit_code=0'], 'conflict-exit-code'],
    [['--conflict-exitcode', '0'], 'conflict-exit-code'],
    [['--lost-exit-cod', '0'], 'lost-exit-code'],
    [['--share'], 'shared'],
    [['--sahred'], 'shared'],
    [['--verbos'], 'verbose'],
    [['-db', 'postgres://user:hush@host/x'], 'db'],
    [['--bd=postgres://user:hush@host/x'], 'db'],
  ]) {
    for (const program of ['withlock', 'pgmutex']) {
      const { status, stdout, stderr } = await run(program, commandLine[program]('near', parameters, `console.log('in')`))
      assert.deepEqual([status, stdout], [2, ''], `${program} ${parameters.join(' ')}`)
      assert.match(stderr, new RegExp(`^${program}: there is no option --?[\\w-]+: is it --${meant}\\?\nTry ${program} --help\n$`))
      assert.doesNotMatch(stderr, /hush/)
    }
  }
  const { stderr } = await run('pgmutex', ['--nmae', 'x', 'true'])
  assert.match(stderr, /is it --name\?/)
})

test('withlock ignores what is far from every option, as the original does, and says so', async () => {
  for (const option of ['--quiet', '--level=5', '-v', '--wait', '--debug', '--name=x', '--log', '--dry-run', '--no-wait']) {
    const { status, stdout, stderr } = await run('withlock', [option, 'x', 'far', ...say('in')])
    const expected = option.includes('=') ? [1, ''] : [0, 'in\n']
    assert.deepEqual([status, stdout], expected, `${option} ${stderr}`)
    if (status === 0) assert.equal(stderr, `withlock: there is no option ${option}: it is ignored, as the original does\n`)
  }
})

test('an empty name is an error', async () => {
  for (const [program, parameters] of [
    ['withlock', ['', ...say('in')]],
    ['withlock', ['--shared', '', ...say('in')]],
    ['pgmutex', ['--name', '', 'echo', 'in']],
    ['pgmutex', ['--name=', 'echo', 'in']],
  ]) {
    const { status, stdout, stderr } = await run(program, parameters)
    assert.deepEqual([status, stdout, stderr], [2, '', `${program}: the lock name is empty\nTry ${program} --help\n`])
  }
})

test('wrong values are status 2, with a sentence', async () => {
  for (const [options, sentence] of [
    [['--timeout', '5s'], '--timeout needs a number of seconds'],
    [['--timeout', 'postgres://user:hush@host/x'], '--timeout needs a number of seconds'],
    [['--conflict-exit-code', '-1'], '--conflict-exit-code needs an integer from 0 to 255'],
    [['--lost-exit-code', '256'], '--lost-exit-code needs an integer from 0 to 255'],
    [['--lost-exit-code', 'hush'], '--lost-exit-code needs an integer from 0 to 255'],
    [['--verbose=yes'], '--verbose takes no value'],
    [['--try', '--timeout', '1'], '--try and --timeout exclude each other'],
  ]) {
    for (const program of ['withlock', 'pgmutex']) {
      const { status, stdout, stderr } = await run(program, commandLine[program]('wrong', options, `console.log('in')`))
      assert.deepEqual([status, stdout, stderr], [2, '', `${program}: ${sentence}\nTry ${program} --help\n`])
    }
  }
})

test('no message repeats what may be a password in a wrong place', async () => {
  const secret = 'postgres://user:hush@host/x'
  for (const [program, parameters, env] of [
    ['withlock', ['name', secret, ...say('in')]],
    ['withlock', ['name', '--db', ...say('in')]],
    ['withlock', [`--${secret}`, 'name', ...say('in')]],
    ['withlock', [`-${secret}`, ...say('in')]],
    ['withlock', ['--level', secret, ...say('in')]],
    ['pgmutex', [`--${secret}`, 'true']],
    ['pgmutex', ['--timeout', secret, 'true']],
    ['pgmutex', ['--try', 'true', secret], { ...unconnected, PG_CONNECTION_STRING: 'postgres://user:hush@127.0.0.1:1/x' }],
  ]) {
    const { stdout, stderr } = await run(program, parameters, env && { env })
    assert.doesNotMatch(stderr + stdout.replace('in\n', ''), /hush/, parameters.join(' '))
  }
  // Nor the command line, where that is the name.
  await sqlLock(database.sql, `echo ${secret}`)
  const waiting = start('pgmutex', ['--verbose', 'echo', secret])
  await database.waiter(`echo ${secret}`)
  await sqlUnlock(database.sql, `echo ${secret}`)
  const { stdout, stderr } = await waiting.ended
  assert.equal(stdout, `${secret}\n`)
  assert.match(stderr, /: the lock is taken; waits\n/)
  assert.doesNotMatch(stderr, /hush/)
})

test('the command sees the name of its lock', async () => {
  for (const name of ['job', 'ä "quoted" name', 'two\nlines']) {
    const script = 'process.stdout.write(process.env.ADVISORY_LOCK_NAME)'
    for (const program of ['withlock', 'pgmutex']) {
      assert.equal((await run(program, commandLine[program](name, [], script))).stdout, name)
    }
  }
  // A command line may be longer than a variable.
  const long = 'x'.repeat(100_000)
  const { status, stdout } = await run('pgmutex', [node, '-e', 'console.log(process.env.ADVISORY_LOCK_NAME)', long])
  assert.deepEqual([status, stdout], [0, 'undefined\n'])
})

const nested = (options, ...command) => [node, programs.withlock, ...options, '--', ...command]

test('whoever would wait for itself is told', async () => {
  for (const [outer, inner] of [
    [['self'], ['self']],
    [['self', '--shared'], ['self']],
    [['self'], ['self', '--shared']],
    [['self'], ['self', '--timeout', '60', '--conflict-exit-code', '0']],
  ]) {
    const { status, stdout, stderr } = await run('withlock', [...outer, '--', ...nested(inner, 'echo', 'in')])
    assert.deepEqual([status, stdout], [2, ''], stderr)
    assert.match(stderr, /^withlock: the lock "self" is held by the process \d+ around this command, which would wait for itself\n$/)
  }
  // With another between, and by a shell.
  const { status, stderr } = await run('withlock', ['outer', '--', ...nested(['between'], 'sh', '-c', `"$@"; exit $?`, 'sh', ...nested(['outer'], 'true'))])
  assert.equal(status, 2)
  assert.match(stderr, /the lock "outer" is held by the process/)
  // By the other program, under a session's name of the user's.
  const env = { ...unconnected, PG_CONNECTION_STRING: database.connectionString, PGAPPNAME: 'mine' }
  assert.equal((await run('pgmutex', ['--name', 'outer', ...nested(['outer'], 'true')], { env })).status, 2)
})

test('whoever does not wait for itself is let in, or waits', async () => {
  for (const [outer, inner] of [
    [['self', '--shared'], ['self', '--shared']],
    [['self'], ['another']],
  ]) {
    const { status, stdout, stderr } = await run('withlock', [...outer, '--', ...nested(inner, 'echo', 'in')])
    assert.deepEqual([status, stdout, stderr], [0, 'in\n', ''])
  }
  // The same name in another database is another lock, even where that is taken.
  const url = new URL(database.connectionString)
  url.pathname = '/postgres'
  const other = await database.client(url.href)
  await sqlLock(other, 'self')
  const job = start('withlock', ['self', '--', ...nested(['self', '--db', url.href, '--verbose'], 'echo', 'in')])
  await job.complained('is taken; waits')
  await sqlUnlock(other, 'self')
  assert.equal((await job.ended).stdout, 'in\n')
  // Nor is it taken for this one where the user names the sessions.
  await sqlLock(other, 'self')
  const named = start('withlock', ['self', '--', ...nested(['self', '--db', url.href, '--verbose'], 'echo', 'in')], {
    env: { ...unconnected, PG_CONNECTION_STRING: database.connectionString, PGAPPNAME: 'mine' },
  })
  await named.complained('is taken; waits')
  await sqlUnlock(other, 'self')
  assert.equal((await named.ended).stdout, 'in\n')
  await waitsForWhoIsAboutToEnd()
  // Whoever says that a lock is held must be alive, and may be wrong.
  await sqlLock(database.sql, 'self')
  for (const held of ['[]', 'null', '{', '[{}]', '[null]', JSON.stringify([{ key: [1, 2], pid: -1 }])]) {
    const env = { ...unconnected, PG_CONNECTION_STRING: database.connectionString, ADVISORY_LOCK_HELD: held }
    assert.equal((await run('withlock', ['self', '--timeout', '0.1', '--conflict-exit-code', '9', '--', 'true'], { env })).status, 9)
  }
  await sqlUnlock(database.sql, 'self')
  assert.equal(await sqlTry(database.sql, 'self'), true)
})

/** Who has been started beside the command, and outlives it. */
async function waitsForWhoIsAboutToEnd() {
  // Elsewhere there is no such program.
  if (process.platform !== 'linux') return
  const outlives = ['-c', `"$@" & read -r line < "$FIFO"`, 'sh', 'setsid', ...nested(['self', '--timeout', '30', '--verbose'], 'echo', 'in')]
  const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-fifo-'))
  const fifo = join(folder, 'fifo')
  execFileSync('mkfifo', [fifo])
  const parent = start('withlock', ['self', '--', 'sh', ...outlives], {
    env: { ...unconnected, PG_CONNECTION_STRING: database.connectionString, FIFO: fifo },
  })
  await parent.complained('is taken by a process around this command')
  writeFileSync(fifo, 'end\n')
  const both = await parent.ended
  assert.equal(both.stdout, 'in\n', both.stderr)
  rmSync(folder, { recursive: true })
}

test('all programs are verbs of the one that has the name of the package', async () => {
  const program = 'advisory-lock-native'
  assert.equal((await run(program, ['withlock', 'verb', '--', 'echo', 'in'])).stdout, 'in\n')
  assert.equal((await run(program, ['pgmutex', 'echo', 'in'])).stdout, 'in\n')
  assert.equal((await run(program, ['withlock', 'verb', '--', 'sh', '-c', 'exit 7'])).status, 7)
  assert.match((await run(program, ['withlock', '--help'])).stdout, /^Usage: withlock </)
  assert.match((await run(program, ['--help'])).stdout, /^Usage: advisory-lock-native <withlock \| pgmutex \| pglocks>/)
  assert.equal((await run(program, ['--version'])).stdout, `${version}\n`)
  for (const parameters of [[], ['withlok', 'x', '--', 'true'], ['toString'], ['--try'], ['']]) {
    const { status, stdout, stderr } = await run(program, parameters)
    assert.deepEqual([status, stdout], [2, ''], parameters.join(' '))
    assert.match(stderr, /^Usage: advisory-lock-native </)
  }
})
