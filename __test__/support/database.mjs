// A database of its own for each test file, on the server of the test run, and what tests ask about it.

import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { after } from 'node:test'
import pg from 'pg'
import { startServer } from '../../scripts/embedded-postgres.mjs'

const { strToKey } = createRequire(import.meta.url)('../../index.js')

/**
 * Opens a fresh database; it goes, with every connection to it, when the file's tests are over.
 *
 * The server is that of the caller, else the one of `PG_CONNECTION_STRING`, else one that is started for this file alone.
 */
export async function openDatabase(callersServer) {
  const given = callersServer?.connectionString() ?? process.env.PG_CONNECTION_STRING
  const server = given ? undefined : await startServer()
  const base = given ?? server.connectionString()
  const name = `lock_test_${randomBytes(6).toString('hex')}`
  const asAdmin = async (work) => {
    const admin = new pg.Client(base)
    await admin.connect()
    await admin.query(work)
    await admin.end()
  }
  await asAdmin(`CREATE DATABASE ${name}`)
  const url = new URL(base)
  url.pathname = `/${name}`
  const database = new Database(url.href)
  await database.open()
  after(async () => {
    await database.close()
    // A server of the caller's goes with all its databases.
    if (!callersServer) await asAdmin(`DROP DATABASE ${name} WITH (FORCE)`)
    await server?.stop()
  })
  return database
}

class Database {
  #clients = []

  constructor(connectionString) {
    this.connectionString = connectionString
  }

  async open() {
    this.sql = await this.client()
  }

  /** A plain `pg` client, closed with the database. */
  async client(connectionString = this.connectionString) {
    const client = new pg.Client({ connectionString, application_name: 'plain client' })
    // A backend that a test terminates is no failure of the test.
    client.on('error', () => {})
    await client.connect()
    this.#clients.push(client)
    return client
  }

  async close() {
    await Promise.all(this.#clients.map((client) => client.end().catch(() => {})))
  }

  /** The first value that the query gives. */
  async value(text, values) {
    const { rows } = await this.sql.query({ text, values, rowMode: 'array' })
    return rows[0]?.[0]
  }

  /** Locks and waits for the key of a name in this database, except those of plain clients. */
  async locks(name) {
    const [high, low] = typeof name === 'string' ? strToKey(name) : name
    const { rows } = await this.sql.query(
      `SELECT l.pid, l.mode = 'ExclusiveLock' AS exclusive, l.granted FROM pg_locks l
       JOIN pg_stat_activity a USING (pid)
       WHERE l.locktype = 'advisory' AND a.datname = current_database() AND a.application_name <> 'plain client'
       AND l.classid = $1::int8 & 4294967295 AND l.objid = $2::int8 & 4294967295 AND l.objsubid = 2`,
      [high, low],
    )
    return rows
  }

  /** How many advisory locks and waits there are in this database. */
  async lockCount() {
    return Number(
      await this.value(
        `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      ),
    )
  }

  /** Connections to this database other than plain clients'. */
  async connectionCount() {
    return Number(
      await this.value(
        `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND backend_type = 'client backend' AND application_name <> 'plain client'`,
      ),
    )
  }

  /** Ends every session that holds or awaits the key of a name. */
  async terminate(name) {
    const pids = (await this.locks(name)).map((lock) => lock.pid)
    await this.sql.query('SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pids(pid)', [pids])
    return pids.length
  }

  /** Until somebody waits on the server for the key of a name. */
  async waiter(name, count = 1) {
    await until(async () => (await this.locks(name)).filter((lock) => !lock.granted).length === count, `${count} waiting`)
  }

  /** Until nobody of ours waits on the server for the key of a name. */
  async noWaiter(name) {
    await until(async () => (await this.locks(name)).every((lock) => lock.granted), 'nobody waiting')
  }
}

/** Waits until a fact is true; fails after `limit` milliseconds. */
export async function until(fact, what, limit = 10_000) {
  const deadline = performance.now() + limit
  while (!(await fact())) {
    if (performance.now() > deadline) throw new Error(`not within ${limit} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Looks until what is seen is what it should be; resolves to that. */
export async function untilSeen(look, isMeant, what) {
  let seen
  await until(async () => isMeant((seen = await look())), what)
  return seen
}

/** Takes a key by plain SQL on a plain client, and gives it back. */
export const sqlLock = (client, name, suffix = '') =>
  client.query(`SELECT pg_advisory_lock${suffix}($1, $2)`, typeof name === 'string' ? strToKey(name) : name)
export const sqlUnlock = (client, name, suffix = '') =>
  client.query(`SELECT pg_advisory_unlock${suffix}($1, $2)`, typeof name === 'string' ? strToKey(name) : name)
export const sqlTry = async (client, name, suffix = '') => {
  const key = typeof name === 'string' ? strToKey(name) : name
  const { rows } = await client.query({ text: `SELECT pg_try_advisory_lock${suffix}($1, $2)`, values: key, rowMode: 'array' })
  if (rows[0][0]) await sqlUnlock(client, name, suffix)
  return rows[0][0]
}
