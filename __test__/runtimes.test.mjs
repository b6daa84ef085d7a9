// The core under the runtimes beside Node.js, and in threads.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { openDatabase, until } from './support/database.mjs'
import { bun, deno } from './support/runtimes.mjs'

const database = await openDatabase()
const core = fileURLToPath(new URL('children/core.mjs', import.meta.url))
const nobodyLeft = () => until(async () => (await database.connectionCount()) === 0, 'the process has left the server')

const runtimes = {
  'Node.js': () => [process.execPath],
  Bun: () => [bun()],
  Deno: () => [deno(), 'run', '--allow-all'],
}

for (const [name, command] of Object.entries(runtimes)) {
  test(`${name}: the core works, and the process ends by itself`, async () => {
    const [file, ...flags] = command()
    const { stdout } = await promisify(execFile)(file, [...flags, core, database.connectionString, name], { timeout: 50_000 })
    assert.equal(stdout, 'core: ok\n')
    await nobodyLeft()
  })
}

test('threads: the core works in several at once', async () => {
  const script = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.core).then(({ runCore }) => runCore(workerData.connectionString, workerData.name))
      .then(() => parentPort.postMessage('ok'), (error) => { throw error })`
  const run = (name) =>
    new Promise((resolve, reject) => {
      const workerData = { core, connectionString: database.connectionString, name }
      const worker = new Worker(script, { eval: true, argv: [], workerData })
      const messages = []
      worker.on('message', (message) => messages.push(message))
      worker.on('error', reject)
      worker.on('exit', () => resolve(messages))
    })
  const names = ['thread 1', 'thread 2', 'thread 3', 'thread 4']
  assert.deepEqual(await Promise.all(names.map(run)), names.map(() => ['ok']))
  await nobodyLeft()
})
