// withlock and the process group of its command: the lock outlives no command, and no command outlives the lock.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants as files, createReadStream, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { commandsOf, node, programs, unconnected } from './support/commands.mjs'
import { program } from './support/program.mjs'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'

const database = await openDatabase()
const { start, run } = commandsOf(database.connectionString)
const family = fileURLToPath(new URL('children/family.cjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-commands-'))
after(() => rmSync(folder, { recursive: true }))

const underLock = (name, command, options) => start('withlock', [name, '--', ...command], options)

/** Starts a command that has a child, and waits until both are there. */
async function startFamily(name, manner, ...options) {
  const job = start('withlock', [name, ...options, '--', node, family, manner])
  await until(() => /^child \d+$/m.test(job.said('stdout')), 'the child is there')
  if (manner !== 'leaves') await until(() => /^parent \d+$/m.test(job.said('stdout')), 'the parent is there')
  const pids = [...job.said('stdout').matchAll(/^\w+ (\d+)$/gm)].map(([, pid]) => Number(pid))
  return { ...job, pids }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const none = (pids, limit) => until(() => !pids.some(isAlive), 'nobody of the command is left', limit)

test('a command has a process group of its own', async () => {
  const { stdout } = await run('withlock', ['own', '--', 'sh', '-c', 'ps -o pid=,pgid= -p $$'])
  const [pid, group] = stdout.trim().split(/\s+/)
  assert.equal(pid, group)
})

test('the lock is kept until nobody of the group is left, whatever the command itself has done', async () => {
  const fifo = join(folder, 'fifo')
  execFileSync('mkfifo', [fifo])
  // The command ends at once, and leaves somebody behind who has nothing of it open.
  const job = underLock('left', ['sh', '-c', `cat ${fifo} >/dev/null 2>&1 </dev/null & exit 4`])
  // Opens when the one who is left does.
  const end = openSync(fifo, 'w')
  await database.sql.query('SELECT 1')
  assert.equal(await sqlTry(database.sql, 'left'), false)
  closeSync(end)
  assert.equal((await job.ended).status, 4)
  assert.equal(await sqlTry(database.sql, 'left'), true)
})

test('the one who is left gets the signals, and a next holder is let in only when it has ended', async () => {
  const job = await startFamily('signalled', 'leaves')
  const next = underLock('signalled', [node, '-e', `console.log('in')`])
  await database.waiter('signalled')
  job.kill('SIGTERM')
  const { status, stdout } = await job.ended
  assert.equal(status, 3)
  assert.match(stdout, /^child SIGTERM$/m)
  assert.equal((await next.ended).stdout, 'in\n')
  await none(job.pids)
})

test('every signal that can be caught goes to all of the group, once', async () => {
  const job = await startFamily('all signals', 'obedient')
  const others = ['SIGKILL', 'SIGSTOP', 'SIGCHLD', 'SIGILL', 'SIGTRAP', 'SIGBUS', 'SIGFPE', 'SIGSEGV', 'SIGSYS']
  const numbers = new Set()
  const signals = Object.entries(constants.signals)
    .filter(([name, number]) => !others.includes(name) && !numbers.has(number) && numbers.add(number))
    .map(([name]) => name)
    .filter((name) => name !== 'SIGTERM')
  for (const name of ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGABRT', 'SIGTSTP', 'SIGCONT']) {
    assert.ok(signals.includes(name), name)
  }
  for (const signal of [...signals, 'SIGTERM']) {
    job.kill(signal)
    // Under the name that Node.js has for its number.
    await job.printed(`parent ${signal}\n`)
    await job.printed(`child ${signal}\n`)
  }
  const { status, stderr, stdout } = await job.ended
  assert.deepEqual([status, stderr], [0, ''])
  for (const signal of signals) assert.equal(stdout.match(new RegExp(`^parent ${signal}$`, 'gm')).length, 1, signal)
  await none(job.pids)
})

test('signals that end a wait, with the status that a shell has for them', async () => {
  await sqlLock(database.sql, 'waits')
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGABRT', 'SIGINT', 'SIGTERM']) {
    const job = underLock('waits', ['true'])
    await database.waiter('waits')
    job.kill(signal)
    const { status, stderr } = await job.ended
    assert.deepEqual([status, stderr], [128 + constants.signals[signal], ''], signal)
  }
  await sqlUnlock(database.sql, 'waits')
})

test('a signal that ends nobody ends no wait', async () => {
  await sqlLock(database.sql, 'harmless')
  const job = underLock('harmless', ['echo', 'in'])
  await database.waiter('harmless')
  for (const signal of ['SIGWINCH', 'SIGURG', 'SIGCONT', 'SIGPIPE']) job.kill(signal)
  await sqlUnlock(database.sql, 'harmless')
  assert.equal((await job.ended).stdout, 'in\n')
})

test('a signal that came before the lock was free ends the wait: no command is begun', async () => {
  for (let round = 0; round < 10; round++) {
    await sqlLock(database.sql, 'just before')
    const job = underLock('just before', ['echo', 'in'])
    await database.waiter('just before')
    job.kill('SIGTERM')
    await sqlUnlock(database.sql, 'just before')
    const { status, stdout } = await job.ended
    assert.deepEqual([status, stdout], [128 + constants.signals.SIGTERM, ''])
  }
})

test('no command is begun under a lock that is lost already', async () => {
  await sqlLock(database.sql, 'lost at once')
  const job = underLock('lost at once', ['echo', 'in'])
  await database.waiter('lost at once')
  job.kill('SIGSTOP')
  await sqlUnlock(database.sql, 'lost at once')
  await until(async () => (await database.locks('lost at once')).some(({ granted }) => granted), 'it has the lock')
  await database.terminate('lost at once')
  await until(async () => (await database.locks('lost at once')).length === 0, 'and has it no more')
  job.kill('SIGCONT')
  const { status, stdout, stderr } = await job.ended
  assert.deepEqual([status, stdout], [1, ''])
  assert.match(stderr, /^withlock: the lock is lost: /)
})

test('a lock that is lost ends the command, though nobody reads what is said of it', async () => {
  const fifo = join(folder, 'unread')
  execFileSync('mkfifo', [fifo])
  const reading = openSync(fifo, files.O_RDONLY | files.O_NONBLOCK)
  const writing = openSync(fifo, 'w')
  // It fills the pipe, and does not end when it is asked to.
  const script = `trap '' TERM; echo $$; head -c 65536 /dev/zero >&2; echo full; while :; do sleep 1; done`
  const env = { ...unconnected, PG_CONNECTION_STRING: database.connectionString }
  const child = spawn(node, [programs.withlock, 'unheard', '--', 'sh', '-c', script], { env, stdio: ['ignore', 'pipe', writing] })
  after(() => child.kill('SIGKILL'))
  closeSync(writing)
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (said += text))
  await until(() => said.includes('full'), 'nothing more can be written')
  await database.terminate('unheard')
  // It is ended by force five seconds after it was asked.
  await none([Number.parseInt(said)], 15_000)
  const ended = once(child, 'exit')
  let read = ''
  for await (const text of createReadStream(fifo, { encoding: 'latin1' })) read += text
  closeSync(reading)
  assert.deepEqual(await ended, [1, null])
  assert.match(read, /withlock: the lock is lost: /)
})

test('what withlock says and nobody reads does not end the command', async () => {
  const job = start('withlock', ['unread', '--verbose', '--', 'sh', '-c', 'read line; echo $line'], { input: null })
  job.ignore()
  await until(async () => !(await sqlTry(database.sql, 'unread')), 'it is under way')
  job.finish('out\n')
  const { status, stdout } = await job.ended
  assert.deepEqual([status, stdout], [0, 'out\n'])
})

test('a lock that is lost ends all of the group, whoever does not listen by force', async () => {
  for (const [manner, options, expected] of [
    ['obedient', [], 1],
    ['leaves', ['--lost-exit-code', '69'], 69],
    ['stubborn', ['--lost-exit-code=0'], 0],
  ]) {
    const job = await startFamily('lost', manner, ...options)
    await database.terminate('lost')
    const { status, stdout, stderr } = await job.ended
    assert.equal(status, expected, manner)
    assert.match(stdout, /^child SIGTERM$/m)
    assert.match(stderr, /^withlock: the lock is lost: .*57P01/)
    await none(job.pids)
  }
})

test('a command that has been stopped hears of the loss', async () => {
  const job = await startFamily('stopped', 'obedient')
  process.kill(-job.pids[1], 'SIGSTOP')
  await database.terminate('stopped')
  assert.equal((await job.ended).status, 1)
  assert.match(job.said('stdout'), /^child SIGTERM$/m)
})

test('whoever kills withlock ends the command', async () => {
  for (const manner of ['obedient', 'leaves', 'stubborn']) {
    const job = await startFamily('killed', manner)
    job.kill('SIGKILL')
    const { signal, stdout } = await job.ended
    assert.equal(signal, 'SIGKILL')
    assert.match(stdout, /^child SIGTERM$/m)
    await none(job.pids)
  }
})

test('whoever kills the whole group of withlock ends the command', async () => {
  const job = start('withlock', ['killed group', '--', node, family, 'obedient'], { detached: true })
  await job.printed('parent ')
  process.kill(-job.pid, 'SIGKILL')
  assert.match((await job.ended).stdout, /^child SIGTERM$/m)
})

test('a command that is not there is 127, one that cannot be run 126', async () => {
  const script = (name, text, mode) => {
    const path = join(folder, name)
    writeFileSync(path, text, { mode })
    return path
  }
  const cases = [
    ['no-such-command-anywhere', 127, /: no-such-command-anywhere: no such command\n$/],
    [join(folder, 'nothing'), 127, /nothing: no such command\n$/],
    [script('forbidden', '#!/bin/sh\n', 0o644), 126, /forbidden: cannot be run \(EACCES\)\n$/],
    [folder, 126, /: cannot be run \(EACCES\)\n$/],
    [script('orphan', '#!/no/such/interpreter\n', 0o755), 126, /orphan: cannot be run, as its interpreter is missing \(ENOENT\)\n$/],
  ]
  for (const [file, expected, message] of cases) {
    const { status, stdout, stderr } = await run('withlock', ['start', '--', file])
    assert.deepEqual([status, stdout], [expected, ''], file)
    assert.match(stderr, message)
  }
  assert.equal((await run('withlock', ['start', '--', script('bare', 'exit 5\n', 0o755)])).status, 5)
  assert.equal(await sqlTry(database.sql, 'start'), true)
})

test('the standard streams of the command are blocking, as programs expect them', async () => {
  const look = 'import fcntl, os; print([fcntl.fcntl(stream, fcntl.F_GETFL) & os.O_NONBLOCK for stream in range(3)])'
  const { stdout } = await run('withlock', ['streams', '--', program('python3'), '-c', look])
  assert.equal(stdout, '[0, 0, 0]\n')
})

test('on a system without process groups the command itself stands for all', async () => {
  const preload = fileURLToPath(new URL('children/no-groups.cjs', import.meta.url))
  const env = { ...unconnected, PG_CONNECTION_STRING: database.connectionString, NODE_OPTIONS: `--require "${preload.replaceAll('\\', '\\\\')}"` }
  const { status, stdout } = await run('withlock', ['no groups', '--', 'sh', '-c', 'cat; echo $ADVISORY_LOCK_NAME; exit 3'], { env, input: 'in\n' })
  assert.deepEqual([status, stdout], [3, 'in\nno groups\n'])
  assert.equal((await run('withlock', ['no groups', '--', 'no-such-command'], { env })).status, 127)
  assert.equal((await run('withlock', ['no groups', '--', folder], { env })).status, 126)
  assert.equal((await run('withlock', ['no groups', '--', 'sh', '-c', 'kill -9 $$'], { env })).status, 137)
  for (const [end, expected] of [[() => {}, 143], [() => database.terminate('no groups'), 1]]) {
    const job = start('withlock', ['no groups', '--', 'sh', '-c', 'echo in; exec sleep 60'], { env })
    await job.printed('in')
    await end()
    if (expected === 143) job.kill('SIGTERM')
    assert.equal((await job.ended).status, expected)
  }
  assert.equal(await sqlTry(database.sql, 'no groups'), true)
})
