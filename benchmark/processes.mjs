// Processes that measure, and pgbench.

import { execFile, fork, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const WORKER = fileURLToPath(new URL('worker.mjs', import.meta.url))

/** A worker with its peer open; `ask(load, parameters)` → the load's result. */
export async function startWorker(peer, connectionString, applicationName = `bench ${peer}`) {
  const child = fork(WORKER, [peer, connectionString, applicationName], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // For who takes no other name: the original.
    env: { ...process.env, PGAPPNAME: applicationName },
  })
  const answer = () =>
    new Promise((resolve, reject) => {
      const gone = () => reject(new Error(`the worker of ${peer} has ended`))
      child.once('exit', gone)
      child.once('message', (message) => {
        child.off('exit', gone)
        if (message.failure) reject(new Error(`${peer}: ${message.failure}`))
        else resolve(message)
      })
    })
  await answer()
  return {
    applicationName,
    pid: child.pid,
    ask(load, parameters) {
      child.send({ load, ...parameters })
      return answer()
    },
    /** Stops the process as it is, or has it go on. */
    signal: (name) => child.kill(name),
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', resolve)
        child.kill('SIGKILL')
      }),
  }
}

const SCRIPT = 'SELECT pg_advisory_lock(:client_id, 7);\nSELECT pg_advisory_unlock(:client_id, 7);\n'

/** pgbench, of the same two statements; `undefined` where it is not installed. */
export async function findPgbench(folder) {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => b - a) : []
  const program = ['pgbench', ...versions.map((version) => join(debian, version, 'bin/pgbench'))].find(
    (name) => spawnSync(name, ['--version']).status === 0,
  )
  if (!program) return undefined
  const version = spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout.trim()
  const script = join(folder, 'pgbench.sql')
  await writeFile(script, SCRIPT)
  const paces = new Map()
  return {
    version,
    program,
    script,
    /** Pairs in a second, by so many clients on a connection each, in a run of about this many milliseconds. */
    async run(connectionString, clients, milliseconds) {
      const run = async (pairs) => {
        const { stdout } = await promisify(execFile)(program, [
          ...['-n', '-M', 'prepared', '-c', clients, '-j', Math.min(clients, 2), '-t', pairs, '-f', script].map(String),
          connectionString,
        ])
        const [, rate] = /^tps = ([\d.]+)/m.exec(stdout)
        return Number(rate)
      }
      // It takes whole seconds or a number of pairs.
      const place = `${clients} ${connectionString}`
      if (!paces.has(place)) paces.set(place, await run(Math.ceil(1000 / clients)))
      return run(Math.max(1, Math.round((paces.get(place) * milliseconds) / 1000 / clients)))
    },
  }
}
