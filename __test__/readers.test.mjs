// The main thread reads its sessions' sockets itself, as long as no other thread uses them.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import advisoryLock from '../index.js'
import { openDatabase, until } from './support/database.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
const isWindows = process.platform === 'win32'
const onWindows = { skip: isWindows && 'the core reads there' }
/** A socket that is read here has two, one of which is the core's. */
const descriptors = () => readdirSync('/dev/fd').length
const turn = () => new Promise((resolve) => setImmediate(resolve))

// What the process keeps once it has connected is there from here on.
await advisoryLock(database.connectionString)('first of all').withLock()

test('it reads from the first lock to the end of the connection', onWindows, async () => {
  const before = descriptors()
  const createMutex = advisoryLock(database.connectionString, { applicationName: 'read' })
  await createMutex('read').withLock()
  await until(() => descriptors() === before + 2, 'it reads')
  const unlocks = await Promise.all(Array.from({ length: 100 }, (_, index) => createMutex(`read ${index}`).lock()))
  await Promise.all(unlocks.map((unlock) => unlock()))
  await createMutex.close()
  await until(() => descriptors() === before, 'it has ended')
})

test('no descriptor is left of 200 connections', onWindows, async () => {
  const round = async () => {
    const createMutex = advisoryLock(database.connectionString)
    await createMutex('round').withLock()
    // Some end before it has begun to read, some in the middle, some after.
    for (let turns = Math.random() * 4; turns > 1; turns--) await turn()
    await createMutex.close()
  }
  await round()
  await turn()
  const before = descriptors()
  for (let count = 0; count < 200; count++) await round()
  await until(() => descriptors() <= before, 'as many descriptors as before')
})

const inThread = `
  const { parentPort, workerData } = require('node:worker_threads')
  const createMutex = require(workerData.module)(workerData.connectionString)
  parentPort.on('message', async ({ name, method }) => {
    const value = await createMutex(name)[method]()
    parentPort.postMessage(typeof value === 'function' ? 'function' : value)
  })`

test('when another thread comes the core reads, and nobody waits for a thread that is busy', async () => {
  const createMutex = advisoryLock(database.connectionString, { applicationName: 'two threads' })
  const connections = () => database.value("SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'two threads'")
  const before = isWindows || descriptors()
  const unlock = await createMutex('first').lock()
  if (!isWindows) await until(() => descriptors() === before + 2, 'it reads')
  const connectionString = `${database.connectionString}?application_name=two%20threads`
  const worker = new Worker(inThread, {
    eval: true,
    workerData: { module: fileURLToPath(new URL('../index.js', import.meta.url)), connectionString },
  })
  after(() => worker.terminate())
  const ask = async (name, method) => {
    worker.postMessage({ name, method })
    return (await once(worker, 'message'))[0]
  }
  assert.equal(await ask('first', 'tryLock'), false)
  // The thread has some descriptors of its own; Node.js closes what it has read from.
  assert.equal(await connections(), 1, 'they share the connection')
  // Handed over within the process, released by the other thread while this one does nothing but run.
  const taken = ask('first', 'lock')
  await turn()
  assert.equal(await unlock(), true)
  assert.equal(await taken, 'function')
  worker.postMessage({ name: 'first', method: 'unlock' })
  const end = performance.now() + 300
  while (performance.now() < end);
  const free = await database.value('SELECT pg_try_advisory_lock($1, $2)', advisoryLock.strToKey('first'))
  assert.equal(free, true, 'the release did not wait for this thread')
  await database.value('SELECT pg_advisory_unlock($1, $2)', advisoryLock.strToKey('first'))
  assert.equal(await once(worker, 'message').then(([value]) => value), true)
  await createMutex.close()
})

test('a thread that is busy for longer than heartbeats may take keeps its lock', async () => {
  const createMutex = advisoryLock(database.connectionString, { heartbeat: 100, applicationName: 'busy' })
  const unlock = await createMutex('busy').lock()
  await turn()
  await turn()
  // Heartbeats are answered in this time, and nobody reads the answers.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6000)
  await turn()
  assert.equal(unlock.signal.aborted, false)
  assert.equal(await unlock(), true)
  await createMutex.close()
})

test('a silent network is noticed all the same', async () => {
  const proxy = await startProxy(database.connectionString)
  after(proxy.close)
  const createMutex = advisoryLock(proxy.connectionString, { heartbeat: 100 })
  const unlock = await createMutex('silent').lock()
  await createMutex('another').withLock()
  const aborted = once(unlock.signal, 'abort')
  proxy.silence()
  await aborted
  assert.equal(unlock.signal.reason.cause.code, 'ETIMEDOUT')
  proxy.heal()
  await createMutex.close()
})
