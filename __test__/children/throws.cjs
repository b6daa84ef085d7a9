'use strict'
// Throws where nobody catches it, in the turn in which answers are delivered, as a program or in a worker thread. Says so if it lives on.

const { Readable } = require('node:stream')
const { isMainThread, parentPort, workerData } = require('node:worker_threads')
const pg = require('pg')
const contract2 = require('../../v2.js')

const [connectionString, how, when] = isMainThread ? process.argv.slice(2) : workerData

const fail = () => {
  throw new Error('on purpose')
}
const ways = {
  'in a tick': () => process.nextTick(fail),
  'in a microtask': () => queueMicrotask(fail),
  'as a stream': () => new Readable({ read() {} }).destroy(new Error('on purpose')),
  'in a listener': fail,
}

const whens = {
  async 'after lock()'(mutex, act) {
    await mutex.lock()
    act()
  },
  async 'after unlock()'(mutex, act) {
    const unlock = await mutex.lock()
    await new Promise((resolve) => setImmediate(resolve))
    await unlock()
    act()
  },
  async 'after the loss of several'(_, act, createMutex) {
    const unlocks = await Promise.all(['a', 'b', 'c'].map((name) => createMutex(name).lock()))
    for (const { signal } of unlocks) signal.addEventListener('abort', act)
    const client = new pg.Client(connectionString)
    await client.connect()
    await client.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'throws'")
    await client.end()
  },
}

async function main() {
  const createMutex = contract2(connectionString, { applicationName: 'throws', idleTimeout: 60_000 })
  const mutex = createMutex('throws')
  // By a connection that is open already.
  await mutex.withLock()
  await whens[when](mutex, ways[how], createMutex)
  await new Promise((resolve) => setTimeout(resolve, 1000))
  if (isMainThread) console.log('it lives on')
  else parentPort.postMessage('it lives on')
  process.exit(0)
}

main()
