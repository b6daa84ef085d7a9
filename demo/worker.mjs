// One process of many: it leads while it holds the lock, and stands by while another does. `demo.mjs` starts four of
// them; an application would do the same in each of its processes.

import advisoryLock from '../index.js'

const TICK = 1000
const tell = (event) => process.send(event)

const createMutex = advisoryLock(process.env.DEMO_CONNECTION_STRING)

let posted = 0
const post = (tick) => {
  const memory = Math.round(process.memoryUsage.rss() / 2 ** 20)
  tell({ event: 'posts', text: `stats no. ${++posted}, of ${tick.toISOString()}, ${memory} MiB in use` })
}

/** Posts at each full second of the database's clock, once over all processes. */
async function lead(term) {
  tell({ event: 'leads' })
  await term.every(TICK, post)
  tell({ event: 'steps down' })
}

tell({ event: 'stands by' })
const election = createMutex('demo: post stats').elect(lead)
election.on('error', (error) => {
  throw error
})

// SIGTERM ends either: the wait of a standby, or the term of the leader, which then gives the lock up.
process.once('SIGTERM', async () => {
  await election.stop()
  await createMutex.client.end()
  tell({ event: 'leaves' })
})
// Ctrl-C in a terminal reaches every process; the demo itself ends the workers then.
process.on('SIGINT', () => {})
