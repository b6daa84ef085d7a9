// The peers of the workload of permits: each in its best form. `caller()` gives `(permits) => release`.

import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(import.meta.url)

export const semaphores = {
  oursPermits: {
    package: 'advisory-lock-native',
    title: 'advisory-lock-native, semaphore',
    async open(connectionString, applicationName) {
      const createMutex = require('../v2.js')(connectionString, { applicationName })
      const made = new Map()
      const semaphore = (permits) => {
        if (!made.has(permits)) made.set(permits, createMutex.semaphore('bench', permits))
        return made.get(permits)
      }
      return { caller: () => (permits) => semaphore(permits).lock(), close: () => createMutex.close() }
    },
  },
  redisPermits: {
    package: 'redis-semaphore',
    title: 'redis-semaphore',
    async open(url) {
      const { Redis } = await import('ioredis')
      const { Semaphore } = await import('redis-semaphore')
      const client = new Redis(url)
      return {
        caller: () => async (permits) => {
          const semaphore = new Semaphore(client, 'bench', permits, { acquireTimeout: 60_000, retryInterval: 1 })
          await semaphore.acquire()
          return () => semaphore.release()
        },
        close: () => client.quit(),
      }
    },
  },
  pgPermits: {
    package: 'pg',
    title: 'pg, by hand: tries the slots in turn, on one pipelined connection',
    async open(connectionString, applicationName) {
      const { default: pg } = await import('pg')
      const client = new pg.Client({ connectionString, application_name: applicationName, pipeline: true })
      await client.connect()
      const ask = async (name, text, slot) => (await client.query({ name, text, values: [slot], rowMode: 'array' })).rows[0][0]
      // One session holds them all, so what is held here is known here.
      const held = new Set()
      return {
        caller: () => async (permits) => {
          for (;;) {
            for (let slot = 0; slot < permits; slot++) {
              if (held.has(slot)) continue
              held.add(slot)
              if (await ask('take', 'SELECT pg_try_advisory_lock(77, $1::int4)', slot)) {
                return async () => {
                  held.delete(slot)
                  await ask('give', 'SELECT pg_advisory_unlock(77, $1::int4)', slot)
                }
              }
              held.delete(slot)
            }
            await sleep(1)
          }
        },
        close: () => client.end(),
      }
    },
  },
}
