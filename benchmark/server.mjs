// The server of the measurements, and what is asked of it meanwhile.

import { createRequire } from 'node:module'
import pg from 'pg'
import { startServer } from '../scripts/embedded-postgres.mjs'

const { strToKey } = createRequire(import.meta.url)('../index.js')

/** On both ways: `tcp` and `unix` are connection strings. Has room for ten thousand locks of several peers. */
export async function openServer() {
  const server = await startServer({ max_connections: 300, max_locks_per_transaction: 512 })
  const tcp = server.connectionString()
  const unix = new URL(tcp)
  unix.hostname = 'localhost'
  unix.searchParams.set('host', server.socketDirectory)
  const connect = async (applicationName) => {
    const client = new pg.Client({ connectionString: tcp, application_name: applicationName })
    // A server that stops ends it: what went wrong before that is what counts.
    client.on('error', () => {})
    await client.connect()
    return client
  }
  const client = await connect('bench observer')
  const count = async (text, values) => Number((await client.query(text, values)).rows[0].count)
  return {
    tcp,
    unix: unix.href,
    socketDirectory: server.socketDirectory,
    version: (await client.query('SHOW server_version')).rows[0].server_version,
    connections: (applicationName) => count('SELECT count(*) FROM pg_stat_activity WHERE application_name = $1', [applicationName]),

    /** Until so many sessions of that name wait in the server's queue. */
    async waiting(applicationName, sessions) {
      const query = `SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid)
        WHERE application_name = $1 AND locktype = 'advisory' AND NOT granted`
      while ((await count(query, [applicationName])) < sessions) await new Promise((resolve) => setTimeout(resolve, 20))
    },

    /** A session that holds the names. */
    async holder(names) {
      const holder = await connect('bench holder')
      const keys = names.map(strToKey)
      await holder.query('SELECT pg_advisory_lock(high, low) FROM unnest($1::int4[], $2::int4[]) AS keys(high, low)', [
        keys.map(([high]) => high),
        keys.map(([, low]) => low),
      ])
      return {
        release: (name) => holder.query('SELECT pg_advisory_unlock($1, $2)', strToKey(name)),
        releaseAll: () => holder.query('SELECT pg_advisory_unlock_all()'),
        close: () => holder.end(),
      }
    },

    async stop() {
      await client.end()
      await server.stop()
    },
  }
}
