// One process waits for very many names that others hold: what that costs the server, and how soon each is served.

import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { median, summarize } from './contest.mjs'
import { goal, now } from './measures.mjs'
import { startWorker } from './processes.mjs'
import { postmasterOf, serverTime } from './standby.mjs'

const { strToKey } = createRequire(import.meta.url)('../index.js')

const COUNT = 10_000
const RELEASES = 60

export const waits = {
  id: `waits-${COUNT}`,
  title: `${COUNT.toLocaleString('en')} waits of one process for as many names`,
  show: 'server',
  units: { server: '% of a core, server', client: '% of a core, client', each: 'ms until one is served, median', last: 'ms, longest', connections: '' },
  goals: ({ ours }) => [
    goal('% of a core of the server', ours.server.median, 5),
    goal('ms until one is served, the longest', ours.last.median, 500),
  ],
  async measure({ quick }) {
    const server = await startServer({ max_locks_per_transaction: 256 })
    const url = server.connectionString()
    const [worker, holder] = [await startWorker('ours', url), new pg.Client(url)]
    await holder.connect()
    try {
      const names = Array.from({ length: COUNT }, (_, index) => `waited ${index}`)
      const keys = names.map(strToKey)
      await holder.query('SELECT pg_advisory_lock(high, low) FROM unnest($1::int4[], $2::int4[]) AS keys(high, low)', [
        keys.map(([high]) => high),
        keys.map(([, low]) => low),
      ])
      await worker.ask('wait', { names })
      const [settle, window] = quick ? [5, 4] : [30, 10]
      await sleep(settle * 1000)
      const begin = { server: serverTime(postmasterOf(server)), at: now() }
      const { cpu } = await worker.ask('idle', { milliseconds: window * 1000 })
      const cores = ((serverTime(postmasterOf(server)) - begin.server) * 1000) / (now() - begin.at)
      const times = []
      // From all over, so that none is about to have the server's own queue.
      for (let index = 0; index < RELEASES; index++) {
        const place = (index * 6151 + 4001) % COUNT
        const since = now()
        await holder.query('SELECT pg_advisory_unlock($1, $2)', keys[place])
        times.push((await worker.ask('served', { name: names[place] })).at - since)
      }
      const { rows } = await holder.query('SELECT count(*)::int FROM pg_stat_activity WHERE application_name = $1', [worker.applicationName])
      return {
        ours: {
          server: summarize([cores * 100]),
          client: summarize([(cpu.process / 1e6 / window) * 100]),
          each: summarize([median(times)]),
          last: summarize([Math.max(...times)]),
          connections: summarize([rows[0].count]),
        },
      }
    } finally {
      await worker.stop()
      await holder.end()
      await server.stop()
    }
  },
}
