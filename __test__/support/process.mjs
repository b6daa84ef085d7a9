// Real child processes that use the package.

import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const child = (name) => fileURLToPath(new URL(`../children/${name}.cjs`, import.meta.url))

/** Runs a script of `children/` to its end: status, signal, and what it printed. */
export async function runChild(name, parameters, { flags = [], env = {} } = {}) {
  const options = { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } }
  const process_ = spawn(process.execPath, [...flags, child(name), ...parameters], options)
  const output = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr']) process_[stream].on('data', (data) => (output[stream] += data))
  const [status, signal] = await once(process_, 'close')
  return { status, signal, ...output }
}

/** Starts a script of `children/` that talks by messages. */
export function startChild(name, ...parameters) {
  return startChildWith([], name, ...parameters)
}

/** The same with flags for Node. */
export function startChildWith(flags, name, ...parameters) {
  const process_ = fork(child(name), parameters.map(String), { execArgv: flags, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const received = []
  const waiting = []
  process_.on('message', (message) => {
    const waiter = waiting.shift()
    if (waiter) waiter.resolve(message)
    else received.push(message)
  })
  let end
  const exited = once(process_, 'exit').then(([status, signal]) => {
    end = new Error(`the child ended (status ${status}, signal ${signal})`)
    for (const { reject } of waiting) reject(end)
    return { status, signal }
  })
  return {
    exited,
    kill: (signal) => process_.kill(signal),
    isAlive: () => process_.exitCode === null && process_.signalCode === null,
    send: (message) => process_.send(message),
    /** The next message of the child. */
    next: () =>
      received.length > 0
        ? Promise.resolve(received.shift())
        : new Promise((resolve, reject) => (end ? reject(end) : waiting.push({ resolve, reject }))),
    async ask(message) {
      this.send(message)
      return this.next()
    },
  }
}
