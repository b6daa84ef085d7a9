// What pgbench loses to four hundred processes that stand by for one lock. The machine's own pace changes by more than that within
// a minute, so the process that stands for them is stopped and goes on again every few seconds, and each run of pgbench beside them is
// compared with its neighbour. Those who wait by raw `pg` do nothing either way: what they seem to take is the error of the measurement.

import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { median, summarize } from './contest.mjs'
import { goal, now } from './measures.mjs'
import { startWorker } from './processes.mjs'
import { postmasterOf, rateOfOthers, serverTime } from './standby.mjs'

const COUNT = 400
/** Seconds until those who stand by ask as seldom as they ever will; raw `pg` asks once. */
const SETTLE = { ours: 18, pg: 3 }
/** Milliseconds until turns under way have ended, and until what has been due for long is asked. */
const CHANGE = 1500
const PAIRS = 14

export const beside = {
  id: 'pgbench-beside',
  title: `pgbench beside ${COUNT} standbys of one lock`,
  show: 'others',
  units: {
    others: 'of pgbench beside the same while they are stopped',
    connected: 'of pgbench before and after, while they are stopped',
    server: '% of a core, server, while pgbench does nothing',
    client: '% of a core, client, meanwhile',
  },
  goals: ({ ours }) => (ours ? [goal(`of the rate of pgbench alone, beside ${COUNT}`, ours.others.median, 0.97, 'at least')] : []),
  async measure({ pgbench, quick }) {
    if (!pgbench) return {}
    const server = await startServer({ max_connections: 1000 })
    const postmaster = postmasterOf(server)
    const url = server.connectionString()
    const rate = () => rateOfOthers(pgbench, url, 2)
    const several = async () => [await rate(), await rate(), await rate()]
    const run = async (name) => {
      const holder = new pg.Client(url)
      await holder.connect()
      const outside = await several()
      const worker = await startWorker(name, url)
      const rates = { others: [], stopped: [] }
      let cores, cpu
      try {
        const { key } = await worker.ask('stand', { count: 0 })
        await holder.query('SELECT pg_advisory_lock($1, $2)', key)
        await worker.ask('stand', { count: COUNT })
        await sleep((quick ? 5 : SETTLE[name]) * 1000)
        const begin = { server: serverTime(postmaster), at: now() }
        ;({ cpu } = await worker.ask('idle', { milliseconds: 5000 }))
        cores = ((serverTime(postmaster) - begin.server) * 1000) / (now() - begin.at)
        for (let pair = 0; pair < (quick ? 3 : PAIRS); pair++) {
          for (const what of pair % 2 === 0 ? ['others', 'stopped'] : ['stopped', 'others']) {
            worker.signal(what === 'stopped' ? 'SIGSTOP' : 'SIGCONT')
            await sleep(CHANGE)
            rates[what].push(await rate())
          }
        }
      } finally {
        await worker.stop()
        await holder.end()
      }
      await sleep(2000)
      outside.push(...(await several()))
      return {
        others: summarize(rates.others.map((one, index) => one / rates.stopped[index])),
        connected: summarize([median(rates.stopped) / median(outside)]),
        server: summarize([cores * 100]),
        client: summarize([(cpu.process / 1e6 / 5) * 100]),
      }
    }
    try {
      await promisify(execFile)(pgbench.program, ['-i', '-q', url])
      return { ours: await run('ours'), pg: await run('pg') }
    } finally {
      await server.stop()
    }
  },
}
