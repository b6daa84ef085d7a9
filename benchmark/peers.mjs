// What is compared: each peer in its best form. `open()` gives `caller()`, an owner's way to a lock: name → release.
//
// A peer's module is loaded only by the process that measures it.

import { createRequire } from 'node:module'
import { semaphores } from './semaphores.mjs'

const require = createRequire(import.meta.url)
const { strToKey } = require('advisory-lock')

const LOCK = 'SELECT pg_advisory_lock($1::int4, $2::int4)'
const UNLOCK = 'SELECT pg_advisory_unlock($1::int4, $2::int4) AS given'
const wasHeld = (given) => {
  if (!given) throw new Error('the lock was not held')
}

/** Makes what belongs to a name once, as a program does that uses the name again. */
function remembered(make) {
  const made = new Map()
  return (name) => {
    let known = made.get(name)
    if (!known) made.set(name, (known = make(name)))
    return known
  }
}

/** No peer is measured by its hash. */
const keyOf = remembered(strToKey)

async function openPg(connectionString, applicationName, options) {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString, application_name: applicationName, ...options })
  await client.connect()
  const ask = (name, text, values) => client.query({ name, text, values, rowMode: 'array' })
  client.on('error', () => {})
  return {
    keyOf,
    async standby(_, name) {
      const { caller } = await openPg(connectionString, applicationName, options)
      return caller()(name)
    },
    caller: () => async (name) => {
      const key = keyOf(name)
      await ask('lock', LOCK, key)
      return async () => wasHeld((await ask('unlock', UNLOCK, key)).rows[0][0])
    },
    close: () => client.end(),
  }
}

export const peers = {
  ours: {
    package: 'advisory-lock-native',
    async open(connectionString, applicationName) {
      const advisoryLock = require('../index.js')
      const owners = []
      return {
        caller() {
          const createMutex = advisoryLock(connectionString, { applicationName })
          owners.push(createMutex)
          const mutexOf = remembered(createMutex)
          return (name) => mutexOf(name).lock()
        },
        keyOf,
        standby: (index, name) => advisoryLock(connectionString, { applicationName, connectTimeout: 10_000 + index })(name).lock(),
        close: () => Promise.all(owners.map((owner) => owner.close())),
      }
    },
  },
  /** Contract 2, whose calls are owners of their own: a program has one factory. */
  second: {
    package: 'advisory-lock-native',
    title: 'the same, /v2',
    async open(connectionString, applicationName) {
      const createMutex = require('../v2.js')(connectionString, { applicationName })
      const mutexOf = remembered(createMutex)
      return { keyOf, caller: () => (name) => mutexOf(name).lock(), close: () => createMutex.close() }
    },
  },
  /** The same where the core's own thread reads every answer, as under Bun and Deno and on Windows. */
  unattended: {
    package: 'advisory-lock-native',
    title: 'the same, not attending',
    open(...where) {
      process.env.ADVISORY_LOCK_NO_ATTENDING = '1'
      return peers.ours.open(...where)
    },
  },
  original: {
    package: 'advisory-lock',
    async open(connectionString) {
      const { default: advisoryLock } = require('advisory-lock')
      const mutexOf = remembered(advisoryLock(connectionString))
      return { keyOf, standby: (_, name) => advisoryLock(connectionString)(name).lock(), caller: () => (name) => mutexOf(name).lock(), close: async () => {} }
    },
  },
  pg: { package: 'pg', title: 'pg, prepared', open: (...where) => openPg(...where, {}) },
  pgPipeline: { package: 'pg', title: 'pg, prepared, pipeline', open: (...where) => openPg(...where, { pipeline: true }) },
  pgEach: {
    package: 'pg',
    title: 'pg, a connection for each',
    async open(...where) {
      const connections = []
      return {
        ownerPerWait: true,
        caller() {
          const opening = openPg(...where, {})
          connections.push(opening)
          const lock = opening.then((connection) => connection.caller())
          return async (name) => (await lock)(name)
        },
        close: async () => Promise.all((await Promise.all(connections)).map((connection) => connection.close())),
      }
    },
  },
  postgres: {
    package: 'postgres',
    title: 'postgres.js, pipelined',
    async open(connectionString, applicationName) {
      const { default: postgres } = await import('postgres')
      const url = new URL(connectionString)
      const path = url.searchParams.get('host')
      const sql = postgres({
        ...(path ? { path: `${path}/.s.PGSQL.${url.port}` } : { host: url.hostname, port: Number(url.port) }),
        username: url.username,
        password: decodeURIComponent(url.password),
        database: url.pathname.slice(1),
        max: 1,
        connection: { application_name: applicationName },
      })
      await sql`SELECT 1`
      return {
        caller: () => async (name) => {
          const [high, low] = keyOf(name)
          await sql`SELECT pg_advisory_lock(${high}::int4, ${low}::int4)`
          return async () => wasHeld((await sql`SELECT pg_advisory_unlock(${high}::int4, ${low}::int4) AS given`)[0].given)
        },
        close: () => sql.end(),
      }
    },
  },
  asyncMutex: {
    package: 'async-mutex',
    title: 'async-mutex, no server, by import',
    async open() {
      const { Mutex } = await import('async-mutex')
      const mutexOf = remembered(() => new Mutex())
      return { caller: () => (name) => mutexOf(name).acquire(), close: async () => {} }
    },
  },
  /** Its other build, which takes half the time: that of CommonJS. */
  asyncMutexRequired: {
    package: 'async-mutex',
    title: 'async-mutex, no server, by require',
    async open() {
      const { Mutex } = require('async-mutex')
      const mutexOf = remembered(() => new Mutex())
      return { caller: () => (name) => mutexOf(name).acquire(), close: async () => {} }
    },
  },
  pgPooled: {
    package: 'pg',
    title: 'pg, by hand: a transaction for each lock',
    async open(connectionString, applicationName) {
      const { default: pg } = await import('pg')
      const clients = []
      return {
        keyOf,
        caller() {
          const client = new pg.Client({ connectionString, application_name: applicationName })
          clients.push(client)
          const connected = client.connect()
          return async (name) => {
            await connected
            await client.query('BEGIN READ ONLY')
            const { rows } = await client.query({ text: 'SELECT pg_try_advisory_xact_lock($1::int4, $2::int4)', values: keyOf(name), rowMode: 'array' })
            wasHeld(rows[0][0])
            return () => client.query('COMMIT')
          }
        },
        close: () => Promise.all(clients.map((client) => client.end())),
      }
    },
  },
  ...semaphores,
}

/** `pg@8.23.1` */
export function versionOf(peer) {
  const { package: name } = peers[peer]
  if (name === 'advisory-lock-native') return `${name}@${require('../package.json').version}`
  // Not every package exports its manifest.
  const folder = require.resolve.paths(name).map((path) => `${path}/${name}/package.json`)
  for (const manifest of folder) {
    try {
      return `${name}@${require(manifest).version}`
    } catch {
      // Not there: the next folder.
    }
  }
  throw new Error(`${name} is not installed`)
}
