// What the system gives is used up: descriptors, threads. Calls reject with the system's own code, the process lives, what is held
// is held, and a later call tries again.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { openDatabase, sqlTry } from './support/database.mjs'
import { program } from './support/program.mjs'

const database = await openDatabase()
const onUnix = { skip: process.platform === 'win32' && 'Windows has no such limits' }
const onLinux = { skip: process.platform !== 'linux' && 'only Linux changes limits of running processes' }
const script = fileURLToPath(new URL('children/scarce.cjs', import.meta.url))

/** Starts the child by a command line, and has it do this; `next()` are its messages. */
async function start(t, action, file, parameters, options = {}) {
  const child = spawn(file, parameters, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], ...options })
  t.after(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const messages = []
  let arrived = () => {}
  child.on('message', (message) => {
    messages.push(message)
    arrived()
  })
  void exited.then(() => arrived())
  child.send(action)
  return {
    pid: child.pid,
    exited,
    send: (message) => child.send(message),
    async next() {
      while (messages.length === 0) {
        assert.equal(child.exitCode ?? child.signalCode, null, 'the process lives')
        await new Promise((resolve) => (arrived = resolve))
      }
      return messages.shift()
    },
  }
}

const withFewDescriptors = (t, action) =>
  start(t, action, '/bin/sh', ['-c', 'ulimit -n 128; exec "$0" "$@"', process.execPath, script, database.connectionString])

test('a lock is held though the table of descriptors fills in the tick after', onUnix, async (t) => {
  const child = await withFewDescriptors(t, 'holds without descriptors')
  assert.equal(await child.next(), 'full')
  assert.equal(await sqlTry(database.sql, 'held'), false, 'nobody else is let in')
  child.send('go on')
  assert.deepEqual(await child.next(), { aborted: false, unlocked: true })
  assert.deepEqual(await child.exited, [0, null])
})

test('no descriptor is left before the first lock', onUnix, async (t) => {
  const child = await withFewDescriptors(t, 'begins without descriptors')
  assert.deepEqual(await child.next(), { without: ['EMFILE', 'EMFILE'], after: 'ok' })
  assert.deepEqual(await child.exited, [0, null])
})

test('no thread can be started at the first lock', onLinux, async (t) => {
  // The superuser is not limited.
  const options = process.getuid() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  const child = await start(t, 'begins without threads', process.execPath, [script, database.connectionString], options)
  assert.equal(await child.next(), 'ready')
  // Whoever has the same account may limit the process.
  const prlimit = (...parameters) => execFileSync(program('prlimit', 'util-linux'), ['--pid', String(child.pid), ...parameters], options)
  const limit = (count) => prlimit(`--nproc=${count}:`)
  const before = prlimit('--nproc', '--noheadings', '--output=SOFT').toString().trim()
  limit(1)
  child.send('go on')
  assert.equal(await child.next(), 'asked')
  limit(before)
  child.send('go on')
  assert.deepEqual(await child.next(), { without: ['EAGAIN', 'EAGAIN'], after: 'ok' })
  assert.deepEqual(await child.exited, [0, null])
})
