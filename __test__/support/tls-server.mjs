// A PostgreSQL server of the test file's own with TLS, whose certificate and whose rules of admission change while it runs.

import { chmod, chown, mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after } from 'node:test'
import pg from 'pg'
import { password, startServer, user } from '../../scripts/embedded-postgres.mjs'
import { until } from './database.mjs'

/** Starts one. It lets everybody in who has a password, with and without TLS, until {@link rules} says otherwise. */
export async function startTlsServer(settings = {}) {
  const server = await startServer(settings)
  const { uid, gid } = await stat(server.socketDirectory)
  const folder = join(server.socketDirectory, 'tls')
  await mkdir(folder)
  await chown(folder, uid, gid)

  const connect = async () => {
    const client = new pg.Client({ host: server.socketDirectory, port: server.port, user, password, database: 'postgres', application_name: 'plain client' })
    client.on('error', () => {})
    await client.connect()
    return client
  }
  const admin = await connect()
  const ask = async (text, values) => {
    const { rows } = await admin.query({ text, values, rowMode: 'array' })
    return rows[0]?.[0]
  }
  const loadedAt = async () => {
    const client = await connect()
    const { rows } = await client.query('SELECT pg_conf_load_time()::text AS time')
    await client.end()
    return rows[0].time
  }
  /** Until a new connection meets the new settings. */
  const reload = async () => {
    const before = await loadedAt()
    await admin.query('SELECT pg_reload_conf()')
    await until(async () => (await loadedAt()) !== before, 'the settings are read again')
  }
  const set = async (values) => {
    for (const [name, value] of Object.entries(values)) await admin.query(`ALTER SYSTEM SET ${name} = '${value}'`)
    await reload()
  }
  const write = async (name, content) => {
    const path = join(folder, name)
    await writeFile(path, content, { mode: 0o600 })
    await chmod(path, 0o600)
    await chown(path, uid, gid)
    return path
  }
  after(async () => {
    await admin.end()
    await server.stop()
  })

  return {
    server,
    admin,
    ask,
    /**
     * Shows this certificate from now on.
     *
     * @param {{ pem: string }} certificate
     * @param {string} key its private key
     * @param {{ pem: string }[]} [chain] sent along with it
     * @param {{ pem: string }} [clientCa] who signs clients; they are asked for a certificate then
     */
    async show(certificate, key, chain = [], clientCa) {
      await set({
        ssl: 'on',
        ssl_cert_file: await write('server.crt', [certificate, ...chain].map(({ pem }) => pem).join('')),
        ssl_key_file: await write('server.key', key),
        ssl_ca_file: clientCa ? await write('clients.crt', clientCa.pem) : '',
      })
    },
    /** Changes settings of the server. */
    set,
    /** Speaks no TLS from now on. */
    withoutTls: () => set({ ssl: 'off' }),
    /** Sets the rules for connections by TCP, as in pg_hba.conf. */
    async rules(...lines) {
      const file = await ask('SHOW hba_file')
      await writeFile(file, ['local all all scram-sha-256', ...lines, ''].join('\n'))
      await reload()
    },
    /** A connection string; `query` has its parameters. */
    string(query = {}, { host = 'localhost', as = user, secret = password, port = server.port } = {}) {
      const url = new URL(`postgres://${host}:${port}/postgres`)
      url.username = as
      url.password = encodeURIComponent(secret)
      for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
      return url.href
    },
  }
}

/** What becomes of a connection by `pg`, by a string or an object: `ok`, or the code of the error (its message where it has none). */
export async function outcomeOfPg(connection) {
  const client = new pg.Client(typeof connection === 'string' ? { connectionString: connection } : connection)
  client.on('error', () => {})
  try {
    await client.connect()
    return 'ok'
  } catch (error) {
    return error.code ?? error.message
  } finally {
    // Its own `end()` waits for ever after some failures.
    client.connection.stream.destroy()
  }
}
