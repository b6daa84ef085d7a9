// What a program throws where nobody catches it ends the program, whoever has called it: this package must not swallow it.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { openDatabase } from './support/database.mjs'
import { runChild } from './support/process.mjs'

const database = await openDatabase()
const SCRIPT = fileURLToPath(new URL('children/throws.cjs', import.meta.url))

const cases = [
  ...['after lock()', 'after unlock()'].flatMap((when) => ['in a tick', 'in a microtask', 'as a stream'].map((how) => [how, when])),
  ['in a listener', 'after the loss of several'],
  ['in a tick', 'after the loss of several'],
]
for (const [how, when] of cases) {
  test(`what is thrown ${how} ${when} ends the program`, async () => {
    for (const env of [{}, { ADVISORY_LOCK_NO_ATTENDING: '1' }]) {
      const { status, stdout, stderr } = await runChild('throws', [database.connectionString, how, when], { env })
      assert.equal(stdout, '')
      assert.equal(status, 1)
      assert.match(stderr, /Error: on purpose/)
    }
  })

  test(`what is thrown ${how} ${when} ends a worker`, async () => {
    const worker = new Worker(SCRIPT, { workerData: [database.connectionString, how, when] })
    worker.on('message', (message) => assert.fail(message))
    const [error] = await once(worker, 'error')
    assert.equal(error.message, 'on purpose')
    await worker.terminate()
  })
}
