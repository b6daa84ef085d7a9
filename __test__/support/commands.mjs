// withlock and pgmutex, started as a shell starts them.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { until } from './database.mjs'

const path = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url))

export const node = process.execPath
export const programs = {
  withlock: path('bin/withlock.js'),
  pgmutex: path('bin/pgmutex.js'),
  pglocks: path('bin/pglocks.js'),
  'advisory-lock-native': path('bin/advisory-lock-native.js'),
  original: path('node_modules/advisory-lock/build/bin/withlock.js'),
}

/** The environment of the tests, in which nothing leads to a server. */
export const unconnected = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(PG|DATABASE_URL|ADVISORY_LOCK)/.test(name)),
)

/** The command line that runs a script of Node.js under the lock of a name. */
export const commandLine = {
  withlock: (name, options, script) => [name, ...options, '--', node, '-e', script],
  pgmutex: (name, options, script) => ['--name', name, ...options, node, '-e', script],
}

/** The ways to start the programs, with a server to connect to. */
export function commandsOf(connectionString) {
  const connected = { ...unconnected, PG_CONNECTION_STRING: connectionString }

  /**
   * Starts a program. `input` goes to the command's stdin, which is then closed; `null` leaves it open until `finish()`. The
   * output is complete when `ended` is: when nobody of the command is left who has it open.
   */
  function start(program, parameters, { env = connected, input, detached = false } = {}) {
    const child = spawn(node, [programs[program], ...parameters], { env, stdio: 'pipe', detached })
    after(() => child.kill('SIGKILL'))
    const output = { stdout: [], stderr: [] }
    for (const name of ['stdout', 'stderr']) child[name].on('data', (data) => output[name].push(data))
    child.stdin.on('error', () => {})
    if (input !== null) child.stdin.end(input)
    const said = (name) => Buffer.concat(output[name]).toString()
    const ended = once(child, 'close').then(([status, signal]) => {
      return { status, signal, bytes: Buffer.concat(output.stdout), stdout: said('stdout'), stderr: said('stderr') }
    })
    const shows = (name) => (text, limit) =>
      until(() => said(name).includes(text), `${program} prints ${JSON.stringify(text)} on ${name}`, limit)
    return {
      pid: child.pid,
      ended,
      printed: shows('stdout'),
      complained: shows('stderr'),
      said,
      /** From now on nobody reads what it says on stderr. */
      ignore: () => child.stderr.destroy(),
      finish: (last) => child.stdin.end(last),
      kill: (signal) => child.kill(signal),
    }
  }

  return { start, run: (...parameters) => start(...parameters).ended }
}
