// withlock -n: a permit in the place of the lock.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import advisoryLock from '../v2.js'
import { commandsOf, node, programs } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlUnlock } from './support/database.mjs'

const database = await openDatabase()
const { start, run } = commandsOf(database.connectionString)
const stay = [node, '-e', `console.log('in'); process.stdin.resume()`]

test('as many commands at a time as there are permits, each under the name of its lock', async () => {
  const inside = []
  for (const option of [['-n', '2'], ['--permits=2']]) {
    const child = start('withlock', ['some', ...option, '--', ...stay], { input: null })
    await child.printed('in')
    inside.push(child)
  }
  for (const [options, status, said] of [
    [['--try', '--conflict-exit-code', '75'], 75, 'all permits are taken'],
    [['--timeout', '0.1'], 1, 'a permit was not free within 0.1 s'],
  ]) {
    const result = await run('withlock', ['some', '-n2', ...options, '--', 'echo', 'in'])
    assert.deepEqual([result.status, result.stdout, result.stderr], [status, '', `withlock: ${said}\n`])
  }
  const third = start('withlock', ['some', '-n', '2', '--verbose', '--', 'printenv', 'ADVISORY_LOCK_NAME'])
  await third.complained('a permit of "some" is taken; waits')
  inside[0].finish()
  const { status, stdout } = await third.ended
  assert.deepEqual([status, stdout], [0, 'some\n'])
  inside[1].finish()
  assert.deepEqual(await Promise.all(inside.map(async (child) => (await child.ended).status)), [0, 0])
  assert.equal(await database.lockCount(), 0)
})

test('the permit of a command that is killed is free at once', async () => {
  const killed = start('withlock', ['killed', '-n', '1', '--', ...stay], { input: null })
  await killed.printed('in')
  const next = start('withlock', ['killed', '-n', '1', '--verbose', '--', 'echo', 'next'])
  await next.complained('is taken; waits')
  killed.kill('SIGKILL')
  assert.equal((await next.ended).stdout, 'next\n')
})

test('another number of permits is refused, and both are named', async () => {
  const createMutex = advisoryLock(database.connectionString)
  const unlock = await createMutex.semaphore('number', 3).lock()
  const { status, stdout, stderr } = await run('withlock', ['number', '-n', '2', '--', 'echo', 'in'])
  assert.deepEqual([status, stdout], [1, ''])
  assert.match(stderr, /\b2\b.*\b3\b.*ERR_SEMAPHORE_MISMATCH|\b3\b.*\b2\b.*ERR_SEMAPHORE_MISMATCH/)
  await unlock()
  await createMutex.close()
})

test('a semaphore and the lock of its name know nothing of each other', async () => {
  await sqlLock(database.sql, 'apart')
  assert.equal((await run('withlock', ['apart', '-n', '1', '--try', '--', 'echo', 'in'])).stdout, 'in\n')
  await sqlUnlock(database.sql, 'apart')
})

test('whoever would wait for itself is told, and nobody else', async () => {
  const nested = (permits, ...command) => [node, programs.withlock, 'self', '-n', permits, '--', ...command]
  const told = await run('withlock', ['self', '-n', '1', '--', ...nested('1', 'echo', 'in')])
  assert.deepEqual([told.status, told.stdout], [2, ''])
  assert.match(told.stderr, /^withlock: a permit of "self" is held by the process \d+ around this command, which would wait for itself\n$/)
  const twice = await run('withlock', ['self', '-n', '2', '--', ...nested('2', ...nested('2', 'echo', 'in'))])
  assert.equal(twice.status, 2, twice.stderr)
  assert.equal((await run('withlock', ['self', '-n', '2', '--', ...nested('2', 'echo', 'in')])).stdout, 'in\n')
})

test('numbers of permits that are none', async () => {
  for (const value of ['0', '-1', '1.5', '1001', 'many', '', ' ', 'NaN', 'Infinity']) {
    const { status, stderr } = await run('withlock', ['x', `--permits=${value}`, '--', 'true'])
    assert.equal(status, 2, value)
    assert.match(stderr, /^withlock: --permits needs an integer from 1 to 1000\n/)
  }
  for (const [options, reason] of [
    [['-n'], /^withlock: --permits needs a value\n/],
    [['-n', '2', '--shared'], /^withlock: --permits and --shared exclude each other\n/],
  ]) {
    const { status, stderr } = await run('withlock', ['x', ...options, '--', 'true'])
    assert.equal(status, 2)
    assert.match(stderr, reason)
  }
})
