'use strict'
// Takes and gives back a lock again and again, and tells how often that has woken the core's own thread, and how long it took.

const { readFileSync, readdirSync } = require('node:fs')
const advisoryLock = require('../../index.js')

const [connectionString, count] = process.argv.slice(2)

/** How often the thread has gone to sleep so far. */
function wakes() {
  const tasks = readdirSync('/proc/self/task').map((task) => readFileSync(`/proc/self/task/${task}/status`, 'latin1'))
  // The system keeps fifteen characters of a name.
  const status = tasks.find((text) => text.startsWith('Name:\tadvisory-lock-i'))
  return Number(/^voluntary_ctxt_switches:\s*(\d+)$/m.exec(status)[1])
}

async function main() {
  const createMutex = advisoryLock(connectionString)
  const mutex = createMutex('again and again')
  await mutex.withLock()
  const [before, begin] = [wakes(), performance.now()]
  for (let done = 0; done < count; done++) await mutex.withLock()
  console.log(JSON.stringify({ wakes: wakes() - before, milliseconds: performance.now() - begin }))
  await createMutex.close()
}
main()
