// Runs programs beside each other; what one prints is printed in one piece, when it has ended.

import { spawn } from 'node:child_process'
import { once } from 'node:events'

import { root } from './prepare.mjs'

const running = new Set()

/**
 * Runs a program of the clone to its end and prints what it printed, below its name and how long it took.
 *
 * @throws {Error} where it fails, after that was printed: its `output` is once more what was printed
 */
export async function runAside(name, file, parameters, env = process.env) {
  const begin = performance.now()
  console.log(`-- ${name}`)
  // A group of its own: it is ended with all that it has started.
  const child = spawn(file, parameters, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], detached: process.platform !== 'win32' })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  const [status, signal] = await once(child, 'close')
  running.delete(child)
  console.log(`\n== ${name}: ${((performance.now() - begin) / 1000).toFixed(1)} s\n${output.trimEnd()}`)
  if (status !== 0) throw Object.assign(new Error(`${name} failed (${signal ?? `status ${status}`})`), { output })
}

/** Ends what still runs. */
export function endAll() {
  for (const child of running) {
    try {
      process.kill(process.platform === 'win32' ? child.pid : -child.pid, 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
}

// Ctrl-C reaches this process alone, as the others are in groups of their own.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    endAll()
    process.exit(1)
  })
}
