// The workloads. Each gives its figures by contestant, and says which goals they have to meet.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { contest, median } from './contest.mjs'
import { startWorker } from './processes.mjs'

const now = () => Number(process.hrtime.bigint()) / 1e6
const ratio = (one, other) => one.median / other.median
const goal = (text, value, limit, better = 'at most') => ({
  text,
  value,
  limit,
  better,
  met: better === 'at most' ? value <= limit : value >= limit,
})
const others = (figures) => Object.entries(figures).filter(([name]) => name !== 'ours')

/** Runs `use` with a worker for each peer. */
async function withWorkers(names, where, use) {
  const workers = {}
  try {
    for (const name of names) workers[name] = await startWorker(name, where)
    return await use(workers)
  } finally {
    await Promise.all(Object.values(workers).map((worker) => worker.stop()))
  }
}

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

const sequentialGoals = (figures) => [
  ...(figures.pgbench ? [goal('of the time of pgbench -c 1', ratio(figures.ours.time, figures.pgbench.time), 1.25)] : []),
  goal('of the time of the fastest peer', Math.max(...others(figures).filter(([name]) => name !== 'pgbench').map(([, peer]) => ratio(figures.ours.time, peer.time))), 1),
]
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

const oneName = {
  id: 'one-name',
  title: '64 callers, one name, one process',
  show: 'rate',
  units: PAIR_UNITS,
  goals: (figures) => [goal('times async-mutex', ratio(figures.ours.rate, figures.asyncMutex.rate), 1, 'at least')],
  measure: ({ server, repetitions, milliseconds }) =>
    withWorkers(['ours', 'asyncMutex', 'original'], server.tcp, (workers) => {
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

const holds = {
  id: 'holds',
  title: '10,000 names held at once',
  show: 'take',
  units: { take: 'ms to take', give: 'ms to give back', connections: '', grown: 'MiB on top', fresh: 'times: a fresh pair beside them', beside: 'times: and beside 1,000 waits' },
  goals: ({ ours }) => [
    goal('ms to take them', ours.take.median, 100),
    goal('ms to give them back', ours.give.median, 100),
    goal('connections', ours.connections.median, 24),
    goal('MiB of memory on top', ours.grown.median, 20),
    goal('times the time of a fresh pair in an empty process', ours.fresh.median, 1.3),
    goal('times that with 1,000 waits as well', ours.beside.median, 1.3),
  ],
  async measure({ server, repetitions, milliseconds, quick }) {
    const waited = Array.from({ length: 1000 }, (_, index) => `waited ${index}`)
    const elsewhere = await startWorker('pgPipeline', server.tcp, 'bench elsewhere')
    await elsewhere.ask('hold', { names: 1000, prefix: 'waited' })
    const run = (name) => async () => {
      // A fresh process each time: the memory that it takes is of interest.
      const worker = await startWorker(name, server.tcp)
      try {
        const empty = await worker.ask('pairs', { count: 1, milliseconds })
        const { took: take, grown } = await worker.ask('hold', { names: 10_000 })
        const connections = await server.connections(worker.applicationName)
        const fresh = await worker.ask('pairs', { count: 1, milliseconds })
        let beside = NaN
        if (name === 'ours') {
          await worker.ask('wait', { names: waited })
          const result = await worker.ask('pairs', { count: 1, milliseconds })
          beside = result.p50 / empty.p50
        }
        const { took: give } = await worker.ask('give')
        return { take, give, connections, grown: grown / 2 ** 20, fresh: fresh.p50 / empty.p50, beside }
      } finally {
        await worker.stop()
      }
    }
    try {
      return await contest({ ours: run('ours'), pgPipeline: run('pgPipeline') }, quick ? 1 : repetitions)
    } finally {
      await elsewhere.stop()
    }
  },
}

/** `count` waits for names that another process holds: released one by one, then all at once. */
function waiters(count, contestants, goals) {
  const names = Array.from({ length: count }, (_, index) => `waited ${index}`)
  return {
    id: `waiters-${count}`,
    title: `${count} waits for ${count} names held elsewhere`,
    show: 'drain',
    units: { drain: 'ms until all are served', each: 'ms until one is served, median', connections: '' },
    goals,
    measure: ({ server, repetitions, quick }) =>
      withWorkers(contestants, server.tcp, async (workers) => {
        const run = (name) => async () => {
          const worker = workers[name]
          const holder = await server.holder(names)
          await worker.ask('wait', { names })
          // As many as ever wait in the queue of the server; the rest of ours is tried again and again.
          await server.waiting(worker.applicationName, name === 'ours' ? 8 : count)
          const connections = await server.connections(worker.applicationName)
          const times = []
          for (const waited of names.toReversed().slice(0, 50)) {
            const begin = now()
            await holder.release(waited)
            times.push((await worker.ask('served', { name: waited })).at - begin)
          }
          const begin = now()
          await holder.releaseAll()
          const { at } = await worker.ask('drained')
          await holder.close()
          return { drain: at - begin, each: median(times), connections }
        }
        return contest(Object.fromEntries(contestants.map((name) => [name, run(name)])), quick ? 1 : repetitions)
      }),
  }
}

const START = fileURLToPath(new URL('start.cjs', import.meta.url))

const start = {
  id: 'start',
  title: 'a fresh process until it holds its first lock',
  show: 'locked',
  units: { locked: 'ms from the start of the process', load: 'ms to load', grown: 'MiB to load' },
  goals: ({ ours, original }) => [
    goal('of the time of advisory-lock 2.0.0', ratio(ours.locked, original.locked), 0.6),
    goal('ms to load', ours.load.median, 10),
    goal('MiB to load', ours.grown.median, 5),
  ],
  measure: ({ server, repetitions }) => {
    const run = (name) => async () => {
      const begin = now()
      const child = spawn(process.execPath, [START, name, server.tcp], { stdio: ['ignore', 'pipe', 'inherit'] })
      const [line] = await once(child.stdout.setEncoding('utf8'), 'data')
      const locked = now() - begin
      child.kill('SIGKILL')
      await once(child, 'exit')
      const { load, grown } = JSON.parse(line)
      return { locked, load, grown }
    }
    return contest({ ours: run('ours'), original: run('original'), pg: run('pg'), nothing: run('nothing') }, 2 * repetitions)
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

const all = ['ours', 'pg', 'pgPipeline', 'postgres', 'original']
export const workloads = [
  distinct('one-caller', 1, 'tcp', all, sequentialGoals),
  distinct('one-caller', 1, 'unix', ['ours', 'pg', 'postgres'], sequentialGoals),
  latency,
  distinct('callers-64', 64, 'tcp', all, manyGoals(2.5)),
  distinct('callers-64', 64, 'unix', ['ours', 'pgPipeline', 'postgres'], manyGoals(2.5)),
  distinct('callers-512', 512, 'tcp', ['ours', 'pgPipeline', 'postgres'], manyGoals(3.5)),
  curve,
  oneName,
  processes,
  holds,
  waiters(200, ['ours', 'pgEach'], ({ ours }) => [
    goal('ms until all are served', ours.drain.median, 40),
    goal('ms until one is served, one by one, the last first', ours.each.median, 15),
    goal('connections', ours.connections.median, 10),
  ]),
  waiters(1000, ['ours'], () => []),
  start,
]
