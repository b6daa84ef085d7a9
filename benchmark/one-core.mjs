// What a pair costs both sides together, client and server, where all of it runs on one core: nothing is hidden by a second one.

import { execFileSync, execFile, spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { contest } from './contest.mjs'
import { goal, ratio, withWorkers } from './measures.mjs'
import { postmasterOf, serverTime } from './standby.mjs'

const CORE = '0'

/** Has a process run on these cores, with all its threads and what it starts from now on. */
const pin = (pid, cores) => execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', cores, String(pid)], { stdio: 'ignore' })

/** Seconds of processor time of a run of pgbench with so many pairs. */
async function timeOfPgbench({ program, script }, url, pairs) {
  // A shell knows what its children have used.
  const run = `"$0" "$@" > /dev/null 2>&1 && times`
  const parameters = ['-n', '-M', 'prepared', '-c', '1', '-t', String(pairs), '-f', script, url]
  const { stdout } = await promisify(execFile)('taskset', ['--cpu-list', CORE, 'sh', '-c', run, program, ...parameters])
  const [minutes, seconds, systemMinutes, systemSeconds] = stdout.trim().split('\n').at(-1).match(/[\d.]+/g).map(Number)
  return (minutes + systemMinutes) * 60 + seconds + systemSeconds
}

export const oneCore = {
  id: 'one-core',
  title: 'one caller, both sides on one core',
  show: 'both',
  units: { both: 'µs CPU/pair, both sides', client: 'µs CPU/pair, client', server: 'µs CPU/pair, server' },
  goals: (figures) => (figures.pgbench ? [goal('of the CPU time of pgbench', ratio(figures.ours.both, figures.pgbench.both), 2)] : []),
  async measure({ server, pgbench, repetitions, quick }) {
    if (spawnSync('taskset', ['--version']).error) throw new Error('taskset is needed to measure on one core (util-linux)')
    const postmaster = postmasterOf(server)
    const milliseconds = quick ? 500 : 3000
    pin(postmaster, CORE)
    try {
      return await withWorkers(['ours', 'unattended', 'pg', 'postgres'], server.tcp, async (workers) => {
        const figuresOf = (pairs, client, served) => {
          const [mine, its] = [client, served].map((seconds) => (seconds * 1e6) / pairs)
          return { both: mine + its, client: mine, server: its }
        }
        const run = (worker) => async () => {
          pin(worker.pid, CORE)
          const begin = serverTime(postmaster)
          const { pairs, cpu } = await worker.ask('pairs', { count: 1, milliseconds })
          return figuresOf(pairs, cpu.process / 1e6, serverTime(postmaster) - begin)
        }
        const contestants = Object.fromEntries(Object.entries(workers).map(([name, worker]) => [name, run(worker)]))
        if (pgbench) {
          const pairs = Math.ceil(((await pgbench.run(server.tcp, 1, 500)) * milliseconds) / 1000)
          contestants.pgbench = async () => {
            const begin = serverTime(postmaster)
            const client = await timeOfPgbench(pgbench, server.tcp, pairs)
            return figuresOf(pairs, client, serverTime(postmaster) - begin)
          }
        }
        return contest(contestants, repetitions)
      })
    } finally {
      pin(postmaster, `0-${availableParallelism() - 1}`)
    }
  },
}
