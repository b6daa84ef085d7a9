// What keeps a process alive, and what its end leaves behind: nothing.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { runChild, startChild } from './support/process.mjs'

const database = await openDatabase()
const gone = () => until(async () => (await database.connectionCount()) === 0, 'the process has left the server')

for (const [action, printed] of [
  ['create', 'created\n'],
  ['idle', 'idle\n'],
  ['hold', 'held\n'],
]) {
  test(`a script that has nothing to do but ${action} ends by itself`, async () => {
    const { status, stdout, stderr } = await runChild('holder', [action, database.connectionString, action])
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: printed, stderr: '' })
    await gone()
    assert.equal(await sqlTry(database.sql, action), true)
  })
}

test('a script that waits for a lock lives until it has it', async () => {
  await sqlLock(database.sql, 'wait')
  let over = false
  const child = runChild('holder', ['wait', database.connectionString, 'wait']).finally(() => (over = true))
  await database.waiter('wait')
  // Through a whole turn of the wait and beyond, when nothing but the wait is there.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  assert.equal(over, false)
  await sqlUnlock(database.sql, 'wait')
  const { status, stdout } = await child
  assert.deepEqual({ status, stdout }, { status: 0, stdout: 'held\n' })
})

test('a script that ends by process.exit or an exception gives its lock up', async () => {
  const exit = await runChild('holder', ['exit', database.connectionString, 'exit'])
  assert.equal(exit.status, 7)
  const thrown = await runChild('holder', ['throw', database.connectionString, 'throw'])
  assert.equal(thrown.status, 1)
  assert.match(thrown.stderr, /on purpose/)
  await gone()
  for (const name of ['exit', 'throw']) assert.equal(await sqlTry(database.sql, name), true)
})

test('a killed process gives its lock and its place in the queue up', async () => {
  const holder = startChild('remote', database.connectionString)
  const waiter = startChild('remote', database.connectionString)
  after(() => [holder, waiter].forEach((child) => child.kill()))
  await Promise.all([holder.next(), waiter.next()])
  await holder.ask({ name: 'killed', method: 'lock' })
  waiter.send({ name: 'killed', method: 'lock' })
  await database.waiter('killed')
  const next = advisoryLock(database.connectionString)('killed').lock()
  await database.waiter('killed', 2)
  waiter.kill('SIGKILL')
  holder.kill('SIGKILL')
  await Promise.all([holder.exited, waiter.exited])
  await (
    await next
  )()
})

const inThread = `
  const { parentPort, workerData } = require('node:worker_threads')
  const createMutex = require(workerData.module)(workerData.connectionString)
  parentPort.on('message', async ({ name, method }) => {
    const value = await createMutex(name)[method]()
    parentPort.postMessage(typeof value === 'function' ? 'function' : value)
  })`

// Their connections are told from those of the other tests by their name.
const threads = `${database.connectionString}?application_name=threads`

function startThread() {
  const worker = new Worker(inThread, {
    eval: true,
    workerData: { module: fileURLToPath(new URL('../index.js', import.meta.url)), connectionString: threads },
  })
  after(() => worker.terminate())
  const ask = async (name, method) => {
    worker.postMessage({ name, method })
    const [value] = await once(worker, 'message')
    return value
  }
  return { worker, ask }
}

test('a pending call keeps what it was asked of, though nothing else does', async () => {
  const { status, stdout, stderr } = await runChild('dropped', [database.connectionString], { flags: ['--expose-gc'] })
  assert.equal(status, 0, stderr)
  const outcomes = JSON.parse(stdout)
  assert.equal(outcomes.length, 16)
  assert.deepEqual(outcomes.filter((outcome) => !outcome.startsWith('contract ')), [])
})

test('threads exclude each other and share connections', async () => {
  const [one, two] = [startThread(), startThread()]
  assert.equal(await one.ask('threads', 'lock'), 'function')
  assert.equal(await two.ask('threads', 'tryLock'), false)
  assert.equal(await advisoryLock(threads)('threads').tryLock(), false)
  const wait = two.ask('threads', 'lock')
  assert.equal(await one.ask('threads', 'unlock'), true)
  assert.equal(await wait, 'function')
  const connections = "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'threads'"
  assert.equal(await database.value(connections), 1)
  await Promise.all([one.worker.terminate(), two.worker.terminate()])
})

test('a thread that ends gives up its locks and waits', async () => {
  const [one, two] = [startThread(), startThread()]
  await one.ask('thread', 'lock')
  await one.ask('thread shared', 'lockShared')
  two.worker.postMessage({ name: 'thread', method: 'lock' })
  await two.ask('other', 'lock')
  const next = advisoryLock(threads)('thread').lock()
  await two.worker.terminate()
  await one.worker.terminate()
  await (
    await next
  )()
  await until(async () => (await database.lockCount()) === 0, 'nothing stays locked')
})

test('a JavaScript thread that is blocked for 30 s keeps its locks, and hears of a loss as soon as it runs', { timeout: 90_000 }, async () => {
  const child = startChild('blocked', database.connectionString, 30_000)
  after(() => child.kill())
  assert.equal(await child.next(), 'blocks')
  const begin = performance.now()
  const report = child.next()
  assert.equal(await database.terminate('lost'), 1)
  await until(() => sqlTry(database.sql, 'lost'), 'the lock is free')
  let blocked = true
  report.finally(() => (blocked = false))
  let looks = 0
  while (blocked) {
    const isFree = await sqlTry(database.sql, 'kept')
    assert.ok(!isFree || performance.now() - begin > 29_000, 'it is held as long as it was blocked')
    looks++
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(looks > 100)
  const { isKept, code, release, after: delay } = await report
  assert.deepEqual({ isKept, code, release }, { isKept: true, code: 'ERR_LOCK_LOST', release: 'ERR_LOCK_LOST' })
  assert.ok(delay < 1000, `told ${delay} ms after it ran again`)
  assert.deepEqual(await child.exited, { status: 0, signal: null })
})

test('workers of a cluster elect a leader, and another one when it is killed', async () => {
  const { status, stdout, stderr } = await runChild('cluster', [database.connectionString, 4])
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '[1,2,3,4]\n', stderr: '' })
  await gone()
  assert.equal(await sqlTry(database.sql, 'leader'), true)
})
