// Many processes stand by for one lock, for weeks: what that costs the server and whoever else uses it, and how soon the next
// one leads. As many connection configs in one process stand for the processes.

import { execFile } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { median, summarize } from './contest.mjs'
import { goal, now } from './measures.mjs'
import { startWorker } from './processes.mjs'

const COUNTS = [1, 10, 100, 400]
const TAKE_OVERS = 15
/** Ticks of the processor's time in a second, as Linux counts them for programs. */
const TICKS = 100

/**
 * Seconds of processor time that a server has used so far, all its processes together, those that have ended included.
 *
 * By ticks up to 10 ms of each would be missing while it lives, and be there all at once when it ends: of hundreds of backends that
 * is seconds. So those that live are asked for nanoseconds.
 */
export function serverTime(postmaster) {
  const read = (pid, file) => readFileSync(`/proc/${pid}/${file}`, 'latin1')
  let seconds = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      // Of the fields behind the name: parent 1, time of children that have ended 13 and 14.
      const fields = read(pid, 'stat').replace(/^.*\) /, '').split(' ')
      if (pid === postmaster) seconds += (Number(fields[13]) + Number(fields[14])) / TICKS
      if (pid === postmaster || fields[1] === postmaster) seconds += Number(read(pid, 'schedstat').split(' ')[0]) / 1e9
    } catch {
      // It has ended meanwhile.
    }
  }
  return seconds
}

/** The process id of a server's first process. */
export const postmasterOf = ({ socketDirectory }) =>
  readFileSync(join(socketDirectory, 'data/postmaster.pid'), 'latin1').split('\n')[0]

/** The rate of pgbench's own reading transactions, on four connections. */
export async function rateOfOthers(pgbench, url, seconds) {
  const { stdout } = await promisify(execFile)(pgbench.program, ['-n', '-S', '-M', 'prepared', '-c', '4', '-T', String(seconds), url])
  return Number(/^tps = ([\d.]+)/m.exec(stdout)[1])
}

async function measureOne(name, count, { server, postmaster, pgbench, observer, settle, window, without }) {
  const url = server.connectionString()
  const [worker, holder] = [await startWorker(name, url), new pg.Client(url)]
  holder.on('error', () => {})
  await holder.connect()
  try {
    const { key } = await worker.ask('stand', { count: 0 })
    await holder.query('SELECT pg_advisory_lock($1, $2)', key)
    await worker.ask('stand', { count })
    await sleep(settle * 1000)
    const begin = { server: serverTime(postmaster), at: now() }
    const { cpu } = await worker.ask('idle', { milliseconds: window * 1000 })
    const cores = ((serverTime(postmaster) - begin.server) * 1000) / (now() - begin.at)
    const beside = pgbench && (await rateOfOthers(pgbench, url, window / 2))
    const times = []
    // A process that uses the original dies of it when its connection is ended.
    const turns = name === 'original' ? 0 : Math.min(TAKE_OVERS, count)
    for (let turn = 0; turn < turns; turn++) {
      const { rows } = await observer.query(
        `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
         AND classid = $1::int8 & 4294967295 AND objid = $2::int8 & 4294967295`,
        key,
      )
      const since = now()
      await observer.query('SELECT pg_terminate_backend($1)', [rows[0].pid])
      times.push((await worker.ask('elected')).at - since)
    }
    return {
      server: cores * 100,
      client: (cpu.process / 1e6 / window) * 100,
      others: pgbench ? beside / without : NaN,
      takeOver: times.length > 0 ? median(times) : NaN,
    }
  } finally {
    await worker.stop()
    await holder.end().catch(() => {})
  }
}

export const standby = {
  id: 'standby',
  title: 'standbys of one lock: the cost of waiting, and the time to the next leader',
  show: 'server400',
  units: Object.fromEntries(
    COUNTS.flatMap((count) => [
      [`server${count}`, `% of a core, server, ${count}`],
      [`client${count}`, `% of a core, client, ${count}`],
      [`others${count}`, `of pgbench alone, ${count}`],
      [`takeOver${count}`, `ms to the next leader, ${count}`],
    ]),
  ),
  goals: ({ ours }) => {
    const most = Math.max(...COUNTS.filter((count) => ours[`server${count}`]))
    return [
      goal(`% of a core of the server for ${most} standbys`, ours[`server${most}`].median, 3),
      ...(Number.isNaN(ours[`others${most}`].median) ? [] : [goal(`of the rate of pgbench alone, beside ${most}`, ours[`others${most}`].median, 0.97, 'at least')]),
      goal(`% of a core of the client for each hundred`, (ours[`client${most}`].median / most) * 100, 1),
      goal(`ms to the next leader, of ${most}`, ours[`takeOver${most}`].median, 50),
    ]
  },
  async measure({ pgbench, quick }) {
    const server = await startServer({ max_connections: 1000 })
    const observer = new pg.Client(server.connectionString())
    await observer.connect()
    try {
      const postmaster = postmasterOf(server)
      if (pgbench) await promisify(execFile)(pgbench.program, ['-i', '-q', server.connectionString()])
      const [settle, window] = quick ? [5, 4] : [12, 10]
      const figures = {}
      for (const name of ['ours', 'pg', 'original']) {
        figures[name] = {}
        // Each standby of the original is a connection that waits as raw `pg` does.
        for (const count of quick ? [1, 100] : COUNTS) {
          const without = pgbench && (await rateOfOthers(pgbench, server.connectionString(), window / 2))
          const one = await measureOne(name, count, { server, postmaster, pgbench, observer, settle, window, without })
          for (const [figure, value] of Object.entries(one)) figures[name][`${figure}${count}`] = summarize([value])
        }
      }
      return figures
    } finally {
      await observer.end()
      await server.stop()
    }
  },
}
