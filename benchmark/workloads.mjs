// The workloads. Each gives its figures by contestant, and says which goals they have to meet.

import { setTimeout as sleep } from 'node:timers/promises'
import { beside } from './beside.mjs'
import { contest } from './contest.mjs'
import { goal, now, ratio, withWorkers } from './measures.mjs'
import { oneCore } from './one-core.mjs'
import { permits } from './permits.mjs'
import { pooled } from './pooled.mjs'
import { startWorker } from './processes.mjs'
import { stalls } from './stalls.mjs'
import { standby } from './standby.mjs'
import { holds, start, waiters } from './scale.mjs'
import { waits } from './waits.mjs'

const PAIR_UNITS = { rate: 'pairs/s', time: 'µs/pair', p99: 'ms', main: 'µs CPU/pair, main thread', process: 'µs CPU/pair, process', connections: '', rss: 'MiB' }

/** `count` callers on names of their own. */
function distinct(id, count, transport, names, goals) {
  return {
    id: `${id}-${transport}`,
    title: `${count === 1 ? 'one caller' : `${count} callers, a name each`} (${transport})`,
    show: count === 1 ? 'time' : 'rate',
    units: PAIR_UNITS,
    goals,
    measure: ({ server, pgbench, repetitions, milliseconds }) =>
      withWorkers(names, server[transport], async (workers) => {
        const run = (name) => async () => {
          const worker = workers[name]
          const counted = sleep(milliseconds / 2).then(() => server.connections(worker.applicationName))
          const result = await worker.ask('pairs', { count, milliseconds })
          const connections = await counted
          return figuresOf(result, connections)
        }
        const contestants = Object.fromEntries(names.map((name) => [name, run(name)]))
        if (pgbench) {
          const clients = count === 1 ? 1 : await bestClients(pgbench, server[transport], milliseconds)
          contestants.pgbench = async () => {
            const rate = await pgbench.run(server[transport], clients, milliseconds)
            return { rate, time: (clients * 1e6) / rate, connections: clients }
          }
        }
        return contest(contestants, repetitions)
      }),
  }
}

function figuresOf({ pairs, seconds, p99, cpu, rss }, connections) {
  return {
    rate: pairs / seconds,
    time: (seconds * 1e6) / pairs,
    p99,
    main: cpu.mainThread / pairs,
    process: cpu.process / pairs,
    connections,
    rss: rss / 2 ** 20,
  }
}

const best = new Map()
async function bestClients(pgbench, connectionString, milliseconds) {
  if (!best.has(connectionString)) {
    const rates = []
    for (const clients of [1, 2, 4, 8, 16, 32, 64]) rates.push({ clients, rate: await pgbench.run(connectionString, clients, milliseconds) })
    best.set(connectionString, rates.sort((a, b) => b.rate - a.rate)[0].clients)
  }
  return best.get(connectionString)
}

const OWN = ['ours', 'unattended', 'pgbench']
const sequentialGoals = (figures) => {
  const rivals = Object.entries(figures).filter(([name]) => !OWN.includes(name))
  return [
    ...(figures.pgbench ? [goal('of the time of pgbench -c 1', ratio(figures.ours.time, figures.pgbench.time), 1.25)] : []),
    goal('of the time of the fastest peer', Math.max(...rivals.map(([, peer]) => ratio(figures.ours.time, peer.time))), 1),
  ]
}
const manyGoals = (times) => (figures) => [
  ...(figures.pgbench ? [goal("times pgbench's best", ratio(figures.ours.rate, figures.pgbench.rate), times, 'at least')] : []),
  ...(figures.original ? [goal('times advisory-lock 2.0.0', ratio(figures.ours.rate, figures.original.rate), 300, 'at least')] : []),
  ...['pgPipeline', 'postgres'].map((peer) => goal(`times ${peer}`, ratio(figures.ours.rate, figures[peer].rate), 4, 'at least')),
  goal('connections', figures.ours.connections.median, 1),
]

const latency = {
  ...distinct('callers-8', 8, 'tcp', ['ours', 'postgres', 'pgPipeline'], (figures) => [
    goal('of the p99 of postgres.js', ratio(figures.ours.p99, figures.postgres.p99), 1),
  ]),
  show: 'p99',
}

/** Each caller of the main entry has a factory of its own: those who share one do not exclude each other. */
const oneName = {
  id: 'one-name',
  title: '64 callers, one name, one process',
  show: 'rate',
  units: PAIR_UNITS,
  goals: (figures) => [
    goal('times async-mutex by import', ratio(figures.ours.rate, figures.asyncMutex.rate), 1, 'at least'),
    goal('times async-mutex by import, /v2', ratio(figures.second.rate, figures.asyncMutex.rate), 1, 'at least'),
  ],
  measure: ({ server, repetitions, milliseconds }) =>
    withWorkers(['ours', 'second', 'asyncMutex', 'asyncMutexRequired', 'original'], server.tcp, (workers) => {
      const run = (name) => async () => {
        // The original serves in no particular order.
        const inOrder = name !== 'original'
        const result = await workers[name].ask('pairs', { count: 64, milliseconds, name: 'bench one', inOrder })
        return figuresOf(result, NaN)
      }
      return contest(Object.fromEntries(Object.keys(workers).map((name) => [name, run(name)])), repetitions)
    }),
}

/** Fails where two turns overlap; each process's part of all turns. */
function judgeTurns(results) {
  const all = results.flatMap(({ turns }, process) =>
    Array.from({ length: turns.length / 2 }, (_, index) => ({ begin: turns[2 * index], end: turns[2 * index + 1], process })),
  )
  all.sort((a, b) => a.begin - b.begin)
  for (const [index, turn] of all.entries()) {
    if (index > 0 && turn.begin < all[index - 1].end) throw new Error('two holders at a time')
  }
  const parts = results.map(({ turns }) => turns.length / 2 / all.length)
  return { turns: all.length, least: Math.min(...parts) * 100, most: Math.max(...parts) * 100 }
}

const processes = {
  id: 'processes',
  title: '4 processes, one name',
  show: 'rate',
  units: { rate: 'turns/s', least: '% of the turns, least', most: '% of the turns, most' },
  goals: (figures) => [
    goal('times raw pg', ratio(figures.ours.rate, figures.pg.rate), 1.5, 'at least'),
    goal('% of the turns for the least favoured process', figures.ours.least.median, 15, 'at least'),
    goal('% of the turns for the most favoured process', figures.ours.most.median, 35),
  ],
  async measure({ server, repetitions, milliseconds }) {
    const teams = {}
    try {
      for (const name of ['ours', 'pg']) teams[name] = await Promise.all([1, 2, 3, 4].map(() => startWorker(name, server.tcp)))
      const run = (name) => async () => {
        const from = now() + 50
        const time = { from, until: from + 2 * milliseconds }
        // Raw `pg` has one caller on a connection: another one would share its locks.
        const count = name === 'ours' ? 16 : 1
        const results = await Promise.all(teams[name].map((worker) => worker.ask('compete', { count, name: 'bench contended', ...time })))
        const { turns, least, most } = judgeTurns(results)
        return { rate: (turns * 1000) / (2 * milliseconds), least, most }
      }
      return await contest({ ours: run('ours'), pg: run('pg') }, repetitions)
    } finally {
      await Promise.all(Object.values(teams).flat().map((worker) => worker.stop()))
    }
  },
}

/** How the rate grows with the number of names that are asked for at once. */
const COUNTS = [1, 10, 100, 1000, 10_000]
const curve = {
  id: 'curve',
  title: 'as many callers as names',
  show: 'rate1000',
  units: Object.fromEntries(COUNTS.map((count) => [`rate${count}`, `pairs/s of ${count}`])),
  goals: () => [],
  measure: ({ server, repetitions, milliseconds, quick }) =>
    withWorkers(['ours', 'pgPipeline', 'postgres'], server.tcp, async (workers) => {
      const run = (name) => async () => {
        const figures = {}
        // Ten thousand take the others some seconds.
        for (const count of quick ? COUNTS.slice(0, -1) : COUNTS) {
          const { pairs, seconds } = await workers[name].ask('pairs', { count, milliseconds })
          figures[`rate${count}`] = pairs / seconds
        }
        return figures
      }
      return contest(Object.fromEntries(Object.keys(workers).map((name) => [name, run(name)])), repetitions)
    }),
}

const peers = ['pg', 'pgPipeline', 'postgres', 'original']
const all = ['ours', ...peers]
export const workloads = [
  distinct('one-caller', 1, 'tcp', ['ours', 'unattended', ...peers], sequentialGoals),
  distinct('one-caller', 1, 'unix', ['ours', 'unattended', 'pg', 'postgres'], sequentialGoals),
  latency,
  oneCore,
  distinct('callers-64', 64, 'tcp', all, manyGoals(2.5)),
  distinct('callers-64', 64, 'unix', ['ours', 'pgPipeline', 'postgres'], manyGoals(2.5)),
  distinct('callers-512', 512, 'tcp', ['ours', 'pgPipeline', 'postgres'], manyGoals(3.5)),
  curve,
  oneName,
  processes,
  holds,
  waiters(200, ['ours', 'pgEach'], ({ ours }) => [
    goal('ms until all are served', ours.drain.median, 40),
    goal('ms until one is served, one by one, the last first', ours.each.median, 5),
    goal('connections', ours.connections.median, 10),
  ]),
  waiters(1000, ['ours'], () => []),
  waits,
  stalls,
  permits,
  standby,
  beside,
  ...pooled,
  start,
]
