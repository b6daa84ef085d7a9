// Through a transaction pooler: pairs beside `pg` that does the same by hand, and a thousand standbys on a pool of five.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { startPgBouncer } from '../__test__/support/pgbouncer.mjs'
import { contest, median, summarize } from './contest.mjs'
import { goal, now, ratio, withWorkers } from './measures.mjs'
import { startWorker } from './processes.mjs'
import { serverTime } from './standby.mjs'

const CALLERS = 8
const STANDBYS = 1000
const POOL = 5
const TAKE_OVERS = 15

/** Does something with a pooler before the server. */
async function withPooler(server, settings, use) {
  const pooler = await startPgBouncer(server, 'transaction', { max_client_conn: 4000, ...settings })
  try {
    return await use(pooler)
  } finally {
    await pooler.stop()
  }
}

const callers = (count) => ({
  id: `pooled-callers-${count}`,
  title: `${count === 1 ? 'one caller' : `${count} callers, a name each`}, through PgBouncer in transaction mode`,
  show: 'rate',
  units: { rate: 'pairs/s', time: 'µs/pair', p99: 'ms' },
  goals: ({ ours, pgPooled }) => [goal(`of the rate of pg by hand, ${count}`, ratio(ours.rate, pgPooled.rate), 0.8, 'at least')],
  measure: ({ server, repetitions, milliseconds }) =>
    withPooler(server.tcp, { default_pool_size: 20 }, ({ connectionString }) =>
      withWorkers(['ours', 'pgPooled'], `${connectionString}?pgbouncer=true`, (workers) => {
        const run = (name) => async () => {
          const { pairs, seconds, p99 } = await workers[name].ask('pairs', { count, milliseconds })
          return { rate: pairs / seconds, time: (seconds * 1e6) / pairs, p99 }
        }
        return contest({ ours: run('ours'), pgPooled: run('pgPooled') }, repetitions)
      }),
    ),
})

/** Seconds of processor time that a process has used. */
function ownTime(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const standbys = {
  id: 'pooled-standby',
  title: `${STANDBYS} standbys of one lock on a pool of ${POOL}: the cost of waiting, and the time to the next leader`,
  show: 'server',
  units: { connections: 'server connections', server: '% of a core, server', pooler: '% of a core, pooler', client: '% of a core, client', takeOver: 'ms to the next leader' },
  goals: ({ ours }) => [
    goal('server connections', ours.connections.median, POOL),
    goal('% of a core of the server', ours.server.median, 10),
    goal('ms to the next leader', ours.takeOver.median, 2000),
  ],
  async measure({ quick }) {
    const server = await startServer()
    try {
      return await withPooler(server.connectionString(), { default_pool_size: POOL }, (pooler) => stand(server, pooler, quick))
    } finally {
      await server.stop()
    }
  },
}

/** What it costs to wait, and how soon the next one leads. */
async function stand(server, pooler, quick) {
  const postmaster = readFileSync(join(server.socketDirectory, 'data/postmaster.pid'), 'latin1').split('\n')[0]
  const observer = new pg.Client({ connectionString: server.connectionString(), application_name: 'bench observer' })
  const worker = await startWorker('ours', `${pooler.connectionString}?pgbouncer=true`)
  await observer.connect()
  try {
    const { key } = await worker.ask('stand', { count: 0 })
    await observer.query('SELECT pg_advisory_lock($1, $2)', key)
    const count = quick ? STANDBYS / 10 : STANDBYS
    await worker.ask('stand', { count })
    // Until they look as rarely as they ever do.
    await sleep(quick ? 10_000 : 30_000)
    const window = quick ? 4 : 10
    const begin = { server: serverTime(postmaster), pooler: ownTime(pooler.pid()), at: now() }
    const idle = worker.ask('idle', { milliseconds: window * 1000 })
    let connections = 0
    const { cpu } = await idle
    const share = (seconds) => (seconds * 1000 * 100) / (now() - begin.at)
    const shares = { server: share(serverTime(postmaster) - begin.server), pooler: share(ownTime(pooler.pid()) - begin.pooler) }
    const times = []
    for (let turn = 0; turn < TAKE_OVERS; turn++) {
      const { rows } = await observer.query(
        `SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'bench observer') AS connections,
         pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = $1::int8 & 4294967295 AND objid = $2::int8 & 4294967295`,
        key,
      )
      connections = Math.max(connections, rows[0].connections)
      const since = now()
      if (turn === 0) await observer.query('SELECT pg_advisory_unlock($1, $2)', key)
      else await observer.query('SELECT pg_terminate_backend($1)', [rows[0].pid])
      times.push((await worker.ask('elected')).at - since)
    }
    const client = (cpu.process / 1e6 / window) * 100
    return { ours: Object.fromEntries(Object.entries({ connections, ...shares, client, takeOver: median(times) }).map(([name, value]) => [name, summarize([value])])) }
  } finally {
    await worker.stop()
    await observer.end()
  }
  }

export const pooled = [callers(1), callers(CALLERS), standbys]
