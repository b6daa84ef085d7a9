// One process of many: it leads while it holds the lock, and stands by while another does. `demo.mjs` starts four of
// them; an application would do the same in each of its processes.

import { setTimeout as sleep } from 'node:timers/promises'
import advisoryLock from '../index.js'

const TICK = 1000
const tell = (event) => process.send(event)

const createMutex = advisoryLock(process.env.DEMO_CONNECTION_STRING)
const { withLock } = createMutex('demo: post stats')

/** Posts at each tick until the signal fires. */
async function lead(signal) {
  tell({ event: 'leads' })
  let posted = 0
  while (!signal.aborted) {
    tell({ event: 'posts', text: `stats no. ${++posted}, ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB in use` })
    await sleep(TICK, undefined, { signal }).catch(() => {})
  }
  tell({ event: 'steps down' })
}

// SIGTERM ends either: the wait of a standby, or the work of the leader, which then releases.
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())
// Ctrl-C in a terminal reaches every process; the demo itself ends the workers then.
process.on('SIGINT', () => {})

tell({ event: 'stands by' })
try {
  await withLock((lost) => lead(AbortSignal.any([lost, stop.signal])), { signal: stop.signal })
} catch (error) {
  if (error !== stop.signal.reason) throw error
}
await createMutex.client.end()
tell({ event: 'leaves' })
