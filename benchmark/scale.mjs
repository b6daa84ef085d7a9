// The workloads that are about size rather than pace: many holds, many waits, and a start from nothing.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { layOut } from '../scripts/release.mjs'
import { contest, median } from './contest.mjs'
import { goal, now, ratio, withWorkers } from './measures.mjs'
import { startWorker } from './processes.mjs'

/** Ten thousand holds: time, memory, and what they do to others. */
export const holds = {
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
export function waiters(count, contestants, goals) {
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

/** Without what has Node.js itself read files at every start: certificates alone take as long as a first lock. */
const PLAIN = { ...process.env, NODE_EXTRA_CA_CERTS: undefined, NODE_OPTIONS: undefined }
const START = fileURLToPath(new URL('start.cjs', import.meta.url))

/** From nothing to the first lock, with the package as its users have it. */
export const start = {
  id: 'start',
  title: 'a fresh process until it holds its first lock',
  show: 'locked',
  units: { locked: 'ms from the start of the process', load: 'ms to load', grown: 'MiB to load' },
  goals: ({ ours, original }) => [
    goal('of the time of advisory-lock 2.0.0', ratio(ours.locked, original.locked), 0.6),
    goal('ms to load', ours.load.median, 10),
    goal('MiB to load', ours.grown.median, 5),
  ],
  async measure({ server, repetitions }) {
    const ours = await mkdtemp(join(tmpdir(), 'advisory-lock-start-'))
    layOut(ours)
    const run = (name) => async () => {
      const begin = now()
      const child = spawn(process.execPath, [START, name, server.tcp, ours], { stdio: ['ignore', 'pipe', 'inherit'], env: PLAIN })
      const [line] = await once(child.stdout.setEncoding('utf8'), 'data')
      const locked = now() - begin
      child.kill('SIGKILL')
      await once(child, 'exit')
      const { load, grown } = JSON.parse(line)
      return { locked, load, grown }
    }
    try {
      return await contest({ ours: run('ours'), original: run('original'), pg: run('pg'), nothing: run('nothing') }, 2 * repetitions)
    } finally {
      await rm(ours, { recursive: true })
    }
  },
}
