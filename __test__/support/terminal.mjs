// A real terminal, on which somebody types.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after } from 'node:test'
import { until } from './database.mjs'
import { program } from './program.mjs'

/** Runs a command as the first of a session of its own, on a terminal, and tells at last how it has ended. */
const SESSION = `
import os, pty, sys
status = pty.spawn(sys.argv[1:])
ended = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
print("ended", ended, file=sys.stderr)
`

/** What the keys send. */
export const keys = { interrupt: '\x03', quit: '\x1c', suspend: '\x1a', endOfInput: '\x04' }

/** Starts a command on a terminal. */
export function onTerminal(command, env) {
  const session = spawn(program('python3'), ['-c', SESSION, ...command], { env, stdio: 'pipe' })
  after(() => session.kill('SIGKILL'))
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) session[name].setEncoding('utf8').on('data', (data) => (output[name] += data))
  let read = 0
  return {
    type: (text) => session.stdin.write(text),
    /** Waits for a text among what has appeared since the last one was found. */
    async shows(text) {
      await until(() => output.stdout.includes(text, read), `the terminal shows ${JSON.stringify(text)}`)
      read = output.stdout.indexOf(text, read) + text.length
    },
    get shown() {
      return output.stdout
    },
    /** The status of the command, or the negative number of the signal that has ended it. */
    ended: once(session, 'close').then(() => Number(/ended (-?\d+)/.exec(output.stderr)?.[1])),
  }
}
