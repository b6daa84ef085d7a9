// A semaphore beside what others use for one.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { contest } from './contest.mjs'
import { startWorker } from './processes.mjs'

const PERMITS = 8
const CALLERS = 64

/** A Redis server of the benchmark's own, where it is installed. */
async function startRedis() {
  if (spawnSync('redis-server', ['--version']).status !== 0) return undefined
  const socket = createServer().listen(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  await new Promise((resolve) => socket.close(resolve))
  const server = spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'].map(String))
  let log = ''
  for await (const text of server.stdout) if ((log += text).includes('Ready to accept connections')) break
  return { url: `redis://127.0.0.1:${port}`, stop: () => server.kill() }
}

export const permits = {
  id: 'permits',
  title: `${CALLERS} callers, ${PERMITS} permits, one process`,
  show: 'rate',
  units: { rate: 'permits/s', p50: 'ms', p99: 'ms' },
  goals: () => [],
  async measure({ server, repetitions, milliseconds }) {
    const redis = await startRedis()
    if (!redis) console.log('redis-server is not installed: redis-semaphore is left out')
    const places = { oursPermits: server.tcp, pgPermits: server.tcp, ...(redis && { redisPermits: redis.url }) }
    const workers = {}
    try {
      for (const [name, place] of Object.entries(places)) workers[name] = await startWorker(name, place)
      const run = (name) => async () => {
        const { count, seconds, p50, p99 } = await workers[name].ask('permits', { callers: CALLERS, permits: PERMITS, milliseconds })
        return { rate: count / seconds, p50, p99 }
      }
      return await contest(Object.fromEntries(Object.keys(workers).map((name) => [name, run(name)])), repetitions)
    } finally {
      await Promise.all(Object.values(workers).map((worker) => worker.stop()))
      redis?.stop()
    }
  },
}
