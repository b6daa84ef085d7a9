// What pgbench loses to four hundred processes that stand by for one lock: runs without them before and after each run beside them,
// again and again, as the machine's own pace changes by more than is to be seen.

import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { contest } from './contest.mjs'
import { goal } from './measures.mjs'
import { startWorker } from './processes.mjs'
import { rateOfOthers } from './standby.mjs'

const COUNT = 400
/** Seconds until those who stand by ask as seldom as they ever will; raw `pg` asks once. */
const SETTLE = { ours: 30, pg: 3 }
const REPETITIONS = 5

export const beside = {
  id: 'pgbench-beside',
  title: `pgbench beside ${COUNT} standbys of one lock`,
  show: 'others',
  units: { others: 'of pgbench alone', client: '% of a core, client, meanwhile' },
  goals: ({ ours }) => (ours ? [goal(`of the rate of pgbench alone, beside ${COUNT}`, ours.others.median, 0.97, 'at least')] : []),
  async measure({ pgbench, quick }) {
    if (!pgbench) return {}
    const server = await startServer({ max_connections: 1000 })
    const url = server.connectionString()
    const seconds = quick ? 2 : 6
    const rate = () => rateOfOthers(pgbench, url, seconds)
    const run = (name) => async () => {
      const holder = new pg.Client(url)
      await holder.connect()
      const worker = await startWorker(name, url)
      const before = await rate()
      let between, cpu
      try {
        const { key } = await worker.ask('stand', { count: 0 })
        await holder.query('SELECT pg_advisory_lock($1, $2)', key)
        await worker.ask('stand', { count: COUNT })
        await sleep((quick ? 5 : SETTLE[name]) * 1000)
        const idle = worker.ask('idle', { milliseconds: seconds * 1000 })
        between = await rate()
        ;({ cpu } = await idle)
      } finally {
        await worker.stop()
        await holder.end()
      }
      await sleep(2000)
      return { others: (2 * between) / (before + (await rate())), client: (cpu.process / 1e6 / seconds) * 100 }
    }
    try {
      await promisify(execFile)(pgbench.program, ['-i', '-q', url])
      return await contest({ ours: run('ours'), pg: run('pg') }, quick ? 1 : REPETITIONS)
    } finally {
      await server.stop()
    }
  },
}
