// Through PgBouncer, whoever calls: what keeps a process alive, how its ends and those of its threads and owners leave no lock
// behind, and elections whose ticks are run once over all candidates.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import advisoryLock from '../index.js'
import advisoryLock2 from '../v2.js'
import { openDatabase, sqlTry, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'

const database = await openDatabase()
const pooler = async (settings) => {
  const started = await startPgBouncer(database.connectionString, 'transaction', settings)
  after(started.stop)
  return started
}
const { connectionString } = await pooler({ default_pool_size: 4 })
const owner = (options, create = advisoryLock, string = connectionString) => create(string, { transactionPooling: true, ...options })
const nothingIsLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing is locked', 5000)
const file = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url))
const LONG = { timeout: 10_000 }

/** A process that has run this, with `open(applicationName)` for an owner. */
function run(entry, text) {
  const opening = `const lib = require(${JSON.stringify(file(entry))})
    const open = (applicationName) => lib(process.argv[1], { transactionPooling: true, applicationName, idleTimeout: 100 })`
  const child = spawn(process.execPath, ['-e', `${opening}; (async () => { ${text} })()`, connectionString], { stdio: ['ignore', 'pipe', 'inherit'] })
  after(() => child.kill('SIGKILL'))
  return child
}
const ends = async (child) => (await once(child, 'exit'))[0]

test('a lock that is merely held keeps no process alive of contract 1, and one of contract 2 until it is given up', async () => {
  assert.equal(await ends(run('index.js', `await open('held')('alive').lock()`)), 0)
  await nothingIsLeft()
  assert.equal(await ends(run('v2.js', `await (await open('given up')('alive').lock())()`)), 0)
  const holder = run('v2.js', `await open('holds')('alive').lock(); console.log('held')`)
  await once(holder.stdout, 'data')
  const waiter = run('index.js', `await open('waits')('alive').lock(); process.exitCode = 7`)
  const createMutex = owner()
  await assert.rejects(createMutex('alive').lock({ timeout: 1500 }), { code: 'ERR_LOCK_TIMEOUT' })
  assert.deepEqual([holder.exitCode, waiter.exitCode], [null, null], 'both are there')
  const status = ends(waiter)
  holder.kill()
  assert.equal(await status, 7, 'who waits gets it')
  await createMutex.close()
  await nothingIsLeft()
})

test('process.exit() while locks are held, waited for and asked for', async () => {
  const text = `await open('a')('exit').lock(); open('b')('exit').lock().catch(() => {})
    setTimeout(() => { open('c')('another').lock().catch(() => {}); process.exit(3) }, 100)`
  assert.equal(await ends(run('index.js', text)), 3)
  await nothingIsLeft()
})

test('a thread that ends gives its lock up', async () => {
  const text = `const { parentPort, workerData: { lib, connectionString } } = require('node:worker_threads')
    require(lib)(connectionString, { transactionPooling: true })('thread').lock().then(() => parentPort.postMessage('held'))
    parentPort.on('message', () => {})`
  const worker = new Worker(text, { eval: true, workerData: { lib: file('index.js'), connectionString } })
  await once(worker, 'message')
  const createMutex = owner()
  assert.equal(await createMutex('thread').tryLock(), false)
  const next = createMutex('thread').lock(LONG)
  await worker.terminate()
  assert.equal(await (await next)(), true)
  await createMutex.close()
  await nothingIsLeft()
})

test('an owner is closed in the midst of opening, looking, waiting in the process and holding, and leaves no connection', async () => {
  const bouncer = await pooler({ default_pool_size: 1 })
  const holder = owner({}, advisoryLock, bouncer.connectionString)
  const unlock = await holder('closed').lock()
  for (const create of [advisoryLock, advisoryLock2]) {
    const createMutex = owner({ applicationName: 'closes', maxPinnedConnections: 1 }, create, bouncer.connectionString)
    const waits = ['closed', 'opens', 'queues'].map((name) => assert.rejects(createMutex(name).lock(), { code: 'ERR_CLIENT_CLOSED' }))
    const stopped = createMutex('closed').elect(() => {}).ended
    await createMutex.close()
    await Promise.all([...waits, stopped])
  }
  assert.equal(await unlock(), true)
  await holder('closed').lock()
  await holder.client.end()
  await nothingIsLeft()
  const clients = async () => (await bouncer.command('SHOW CLIENTS')).filter((client) => client.database !== 'pgbouncer').length
  await until(async () => (await clients()) === 0, 'the pooler has no client')
})

test('never more connections than may be pinned, and one that looks', async () => {
  const bouncer = await pooler({ default_pool_size: 3 })
  const createMutex = owner({ maxPinnedConnections: 3 }, advisoryLock2, bouncer.connectionString)
  let most = 0
  let isOver = false
  const watching = (async () => {
    while (!isOver) most = Math.max(most, (await bouncer.command('SHOW CLIENTS')).filter((client) => client.database !== 'pgbouncer').length)
  })()
  const calls = Array.from({ length: 300 }, (_, number) => {
    const options = [{ timeout: number % 40 }, { signal: AbortSignal.timeout(1 + (number % 40)) }, LONG][number % 3]
    return createMutex(`name ${number % 7}`).withLock(() => {}, options).then(() => 'done', ({ code }) => code)
  })
  const outcomes = new Set(await Promise.all(calls))
  isOver = true
  await watching
  assert.ok(outcomes.has('done'))
  for (const code of outcomes) assert.ok(['done', 'ERR_LOCK_TIMEOUT', '53300', DOMException.TIMEOUT_ERR].includes(code), code)
  assert.ok(most > 1 && most <= 4, `${most} connections`)
  const { held, waiting } = createMutex.stats()
  assert.deepEqual({ held, waiting }, { held: 0, waiting: 0 })
  await nothingIsLeft()
  await createMutex.close()
})

test('ticks are run once over all candidates, whoever leads', async () => {
  const candidates = [advisoryLock, advisoryLock2].map((create, number) => owner({ applicationName: `candidate ${number}` }, create))
  const runs = []
  const elections = candidates.map((createMutex, number) => {
    const election = createMutex('ticks').elect(
      (term) => {
        term.every(100, (tick) => runs.push({ number, tick: `every ${tick.getTime()}` }))
        term.schedule((last) => new Date(Math.floor(last.getTime() / 150 + 1) * 150), (tick) => runs.push({ number, tick: `schedule ${tick.getTime()}` }))
        return new Promise((resolve) => term.signal.addEventListener('abort', resolve))
      },
      { backoff: { min: 10, max: 50 } },
    )
    election.on('error', (error) => runs.push({ number, tick: error }))
    return election
  })
  await until(() => runs.length > 5, 'ticks are run')
  const first = elections.findIndex(({ isLeader }) => isLeader)
  assert.equal(await sqlTry(database.sql, 'ticks'), false)
  await elections[first].stop()
  await until(() => runs.some(({ number }) => number !== first), 'the other leads')
  const { length } = runs
  await until(() => runs.length > length + 5, 'its ticks are run')
  await Promise.all(elections.map((election) => election.stop()))
  assert.equal(new Set(runs.map(({ tick }) => tick)).size, runs.length)
  assert.ok(runs.every(({ tick }) => typeof tick === 'string'))
  await Promise.all(candidates.map((createMutex) => createMutex.close()))
  await nothingIsLeft()
})
