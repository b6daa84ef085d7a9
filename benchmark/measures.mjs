// What the workloads have in common.

import { startWorker } from './processes.mjs'

/** Milliseconds on the clock that all processes share. */
export const now = () => Number(process.hrtime.bigint()) / 1e6
export const ratio = (one, other) => one.median / other.median
export const goal = (text, value, limit, better = 'at most') => ({
  text,
  value,
  limit,
  better,
  met: better === 'at most' ? value <= limit : value >= limit,
})
/** The figures of the peers. */
export const others = (figures) => Object.entries(figures).filter(([name]) => name !== 'ours')

/** Runs `use` with a worker for each peer. */
export async function withWorkers(names, where, use) {
  const workers = {}
  try {
    for (const name of names) workers[name] = await startWorker(name, where)
    return await use(workers)
  } finally {
    await Promise.all(Object.values(workers).map((worker) => worker.stop()))
  }
}
