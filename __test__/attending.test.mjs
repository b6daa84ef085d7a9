// The JavaScript thread reads by itself the answers for which it alone asks, and nothing depends on its doing so.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import advisoryLock from '../index.js'
import { openDatabase, until } from './support/database.mjs'
import { runChild } from './support/process.mjs'

const require = createRequire(import.meta.url)
const database = await openDatabase()
const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-attending-'))
after(() => rm(folder, { recursive: true }))

const at = (applicationName) => `${database.connectionString}?application_name=${applicationName}`
const connections = (applicationName) =>
  database.value('SELECT count(*)::int FROM pg_stat_activity WHERE application_name = $1', [applicationName])

// Only Linux tells what a thread has done, and which descriptors are open.
if (process.platform === 'linux') {
  test('an answer wakes the thread that waits for it, and no other', async () => {
    const pairs = 500
    const wakes = async (env) => {
      const { status, stdout, stderr } = await runChild('wakes', [database.connectionString, pairs], { env })
      assert.equal(status, 0, stderr)
      return JSON.parse(stdout)
    }
    const { wakes: without } = await wakes({ ADVISORY_LOCK_NO_ATTENDING: '1' })
    assert.ok(without >= pairs, `not attending, the core's thread reads the answers: ${without} wakes`)
    const { wakes: attending, milliseconds } = await wakes({})
    // It looks every 10 ms, however many answers there were, and a machine under load takes long for them.
    const looks = 2 * Math.ceil(milliseconds / 10)
    assert.ok(attending < Math.max(without / 2, looks), `attending, it looks now and then: ${attending} wakes in ${milliseconds} ms, not ${without}`)
  })

  const sockets = () =>
    readdirSync('/proc/self/fd').filter((descriptor) => {
      try {
        return readlinkSync(`/proc/self/fd/${descriptor}`).startsWith('socket:')
      } catch {
        // That of the folder itself.
        return false
      }
    }).length

  for (const [how, end] of [
    ['its owner closes', (createMutex) => createMutex.close()],
    ['its server ends', () => database.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'ended'")],
  ]) {
    test(`nothing is left of a session that was attended to when ${how}`, async () => {
      const before = sockets()
      const createMutex = advisoryLock(at('ended'))
      for (let count = 0; count < 20; count++) await createMutex('brief').withLock()
      assert.equal(sockets(), before + 1)
      await end(createMutex)
      await until(() => sockets() === before, 'its descriptor is closed')
      const again = advisoryLock(at('ended'))
      for (let count = 0; count < 20; count++) await again('brief').withLock()
      await Promise.all([createMutex.close(), again.close()])
      await until(() => sockets() === before, 'and that of the next')
    })
  }
}

test('what a thread has asked is done while it is blocked, and its answers are read', async () => {
  const count = 4000
  const file = join(folder, 'go on')
  const child = runChild('asks-and-blocks', [at('blocked'), count, file])
  const held = () =>
    database.value(`SELECT count(*)::int FROM pg_locks JOIN pg_stat_activity USING (pid)
      WHERE locktype = 'advisory' AND granted AND application_name = 'blocked'`)
  // It goes out in batches, of which the later ones wait for the answers to those before.
  await until(async () => (await held()) === count, 'all that it has asked for is taken', 20_000)
  writeFileSync(file, '')
  const { status, stderr } = await child
  assert.equal(status, 0, stderr)
})

test('two copies of the package in one thread share a session', async () => {
  const copies = [0, 1].map(() => {
    for (const path of Object.keys(require.cache)) if (/[/\\](index|v1|lib[/\\].*)\.js$/.test(path)) delete require.cache[path]
    return require('../index.js')(at('copies'))
  })
  const inside = copies.map(() => 0)
  await Promise.all(
    copies.map(async (createMutex, copy) => {
      for (let count = 0; count < 200; count++) await createMutex(`copy ${copy}`).withLock(() => inside[copy]++)
    }),
  )
  assert.deepEqual(inside, [200, 200])
  assert.equal(await connections('copies'), 1)
  await Promise.all(copies.map((createMutex) => createMutex.close()))
})

test('threads that attend come and go in the middle of it', async () => {
  const inThread = `
    const { parentPort, workerData } = require('node:worker_threads')
    const createMutex = require(workerData.module)(workerData.connectionString)
    const run = async () => {
      for (let count = 0; ; count++) {
        await createMutex('thread').withLock()
        if (count === 50) parentPort.postMessage('runs')
        if (count === 100 && workerData.exits) process.exit()
      }
    }
    run()`
  const module = fileURLToPath(new URL('../index.js', import.meta.url))
  for (let round = 0; round < 12; round++) {
    const exits = round % 2 === 1
    const workerData = { module, connectionString: at('threads'), exits }
    const worker = new Worker(inThread, { eval: true, workerData })
    const ended = once(worker, 'exit')
    assert.deepEqual(await once(worker, 'message'), ['runs'])
    if (!exits) await worker.terminate()
    await ended
  }
  const createMutex = advisoryLock(at('threads'))
  assert.equal(await createMutex('thread').withLock(() => 'inside'), 'inside')
  await createMutex.close()
  await until(async () => (await connections('threads')) === 0, 'their sessions are gone with them')
})
