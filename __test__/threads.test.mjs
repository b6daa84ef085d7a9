// Several JavaScript threads share the process's connections, and none waits for another that is busy.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import advisoryLock from '../index.js'
import { openDatabase, sqlTry, until } from './support/database.mjs'

const database = await openDatabase()
const isLinux = process.platform === 'linux'
const turn = () => new Promise((resolve) => setImmediate(resolve))
const applicationName = 'threads'
const connectionString = `${database.connectionString}?application_name=${applicationName}`
const connections = () => database.value('SELECT count(*)::int FROM pg_stat_activity WHERE application_name = $1', [applicationName])

const inThread = `
  const { parentPort, workerData } = require('node:worker_threads')
  const createMutex = require(workerData.module)(workerData.connectionString)
  parentPort.on('message', async ({ name, method, done }) => {
    const value = await createMutex(name)[method]()
    if (done) {
      Atomics.store(done, 0, 1)
      Atomics.notify(done, 0)
    }
    parentPort.postMessage(typeof value === 'function' ? 'function' : value)
  })`

function startThread() {
  const module = fileURLToPath(new URL('../index.js', import.meta.url))
  const worker = new Worker(inThread, { eval: true, workerData: { module, connectionString } })
  after(() => worker.terminate())
  return {
    /** Until it has answered, which this thread may wait for in its sleep. */
    async ask(name, method, done) {
      worker.postMessage({ name, method, done })
      return (await once(worker, 'message'))[0]
    },
  }
}

test('a thread is served while another, which has begun, does nothing but wait for it', async () => {
  const createMutex = advisoryLock(connectionString)
  await createMutex('main').withLock()
  const thread = startThread()
  const done = new Int32Array(new SharedArrayBuffer(4))
  // As libraries do that make asynchronous functions synchronous.
  const locked = thread.ask('asleep', 'lock', done)
  const woken = Atomics.wait(done, 0, 0, 5000)
  assert.notEqual(woken, 'timed-out', 'the other thread has its lock')
  assert.equal(await locked, 'function')
  assert.equal(await connections(), 1, 'they share the connection')
  assert.equal(await thread.ask('asleep', 'unlock'), true)
  await createMutex.close()
})

test('a lock goes from thread to thread while one is busy', async () => {
  const createMutex = advisoryLock(connectionString)
  const unlock = await createMutex('first').lock()
  const thread = startThread()
  assert.equal(await thread.ask('first', 'tryLock'), false)
  const taken = thread.ask('first', 'lock')
  await turn()
  assert.equal(await unlock(), true)
  assert.equal(await taken, 'function')
  const done = new Int32Array(new SharedArrayBuffer(4))
  const released = thread.ask('first', 'unlock', done)
  assert.notEqual(Atomics.wait(done, 0, 0, 5000), 'timed-out')
  assert.equal(await sqlTry(database.sql, 'first'), true, 'the release did not wait for this thread')
  assert.equal(await released, true)
  await createMutex.close()
})

test('a thread that is busy for longer than heartbeats may take keeps its lock', async () => {
  const createMutex = advisoryLock(database.connectionString, { heartbeat: 100 })
  const unlock = await createMutex('busy').lock()
  await turn()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6000)
  await turn()
  assert.equal(unlock.signal.aborted, false)
  assert.equal(await unlock(), true)
  await createMutex.close()
})

test('no descriptor is left of 200 connections', { skip: !isLinux && '/dev/fd is that of Linux' }, async () => {
  const descriptors = () => readdirSync('/dev/fd').length
  const round = async () => {
    const createMutex = advisoryLock(database.connectionString)
    await createMutex('round').withLock()
    for (let turns = Math.random() * 4; turns > 1; turns--) await turn()
    await createMutex.close()
  }
  await round()
  await turn()
  const before = descriptors()
  for (let count = 0; count < 200; count++) await round()
  await until(() => descriptors() <= before, 'as many descriptors as before')
})
