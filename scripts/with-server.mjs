// Runs a command with a throw-away PostgreSQL server in `PG_CONNECTION_STRING`; its exit status is that of the command:
//
//   node scripts/with-server.mjs <command> [argument...]

import { spawn } from 'node:child_process'
import { once } from 'node:events'

import { startServer } from './embedded-postgres.mjs'

const [command, ...parameters] = process.argv.slice(2)
const server = await startServer()
try {
  const env = { ...process.env, PG_CONNECTION_STRING: server.connectionString() }
  const [status] = await once(spawn(command, parameters, { env, stdio: 'inherit' }), 'exit')
  process.exitCode = status ?? 1
} finally {
  await server.stop()
}
