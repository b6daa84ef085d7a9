// A real PgBouncer between the tests and their server.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { program } from './program.mjs'

/**
 * Starts one.
 *
 * @param {string} connectionString of the server
 * @param {'transaction' | 'session' | 'statement'} mode
 * @param {Record<string, string | number>} [settings] more of `pgbouncer.ini`
 */
export async function startPgBouncer(connectionString, mode, settings = {}) {
  const path = program('pgbouncer')
  const target = new URL(connectionString)
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-pgbouncer-'))
  const port = await freePort()
  const all = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    admin_users: decodeURIComponent(target.username),
    pool_mode: mode,
    default_pool_size: 20,
    ...settings,
  }
  const server = `* = host=${target.hostname} port=${target.port} user=${target.username} password='${decodeURIComponent(target.password)}'`
  const ini = `[databases]\n${server}\n[pgbouncer]\n${Object.entries(all).map(([name, value]) => `${name} = ${value}\n`).join('')}`
  const file = join(folder, 'pgbouncer.ini')
  await writeFile(file, ini)
  await chmod(folder, 0o755)
  // It refuses to run as root.
  const account = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  let pooler
  const start = async () => {
    const started = spawn(path, [...account, file], { stdio: ['ignore', 'ignore', 'pipe'] })
    pooler = started
    let log = ''
    await new Promise((resolve, reject) => {
      started.stderr.setEncoding('utf8').on('data', (text) => {
        log += text
        if (log.includes('process up')) resolve()
      })
      started.on('error', reject)
      started.on('exit', (status) => reject(new Error(`PgBouncer ended (${status}):\n${log}`)))
    })
  }
  const end = async (signal) => {
    if (pooler.exitCode !== null || pooler.signalCode !== null) return
    const ended = once(pooler, 'exit')
    pooler.kill(signal)
    await ended
  }
  await start()
  const url = new URL(connectionString)
  url.host = `127.0.0.1:${port}`
  const console = new URL(url)
  console.pathname = '/pgbouncer'
  return {
    connectionString: url.href,
    pid: () => pooler.pid,
    /** Gives it a command, as an operator does (`PAUSE`, `RESUME`, `RELOAD`, `SHOW POOLS`); its rows. */
    async command(text) {
      const client = new pg.Client({ connectionString: console.href })
      await client.connect()
      try {
        return (await client.query(text)).rows
      } finally {
        await client.end()
      }
    },
    /** Ends it at once, with everything that goes through it. */
    kill: () => end('SIGKILL'),
    /** Starts it again, on the same port. */
    start,
    async stop() {
      // From 1.23 on it waits for its clients where it is asked more politely.
      await end('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}
