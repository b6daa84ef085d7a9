'use strict'

// Runs a command under a lock: waits for the lock, hands signals on, ends the command when the lock is lost.

const { spawn } = require('node:child_process')
const { constants } = require('node:os')
const advisoryLock = require('../../v2.js')

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']
/** What a terminal sends to the command as well, which therefore must not get it twice. */
const FROM_TERMINAL = new Set(['SIGINT', 'SIGQUIT'])
/** How long a command may take to end when its lock is lost: others may have it already. */
const GRACE = 5000

/**
 * @param {{ name: string, command: string[], connectionString: string, shared: boolean, timeout: number,
 *   conflictStatus: number }} job
 * @param {(message: string) => void} complain
 * @returns {Promise<number>} the exit status
 */
async function supervise({ name, command, connectionString, shared, timeout, conflictStatus }, complain) {
  const stopped = new AbortController()
  let child
  const onSignal = (signal) => {
    if (!child) stopped.abort(signal)
    else if (!(process.stdin.isTTY && FROM_TERMINAL.has(signal))) child.kill(signal)
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)

  const createMutex = advisoryLock(connectionString)
  const mutex = createMutex(name)
  const run = (lost) => {
    // Stopped in the moment of the grant.
    stopped.signal.throwIfAborted()
    child = start(command)
    const giveUp = () => child.end()
    lost.addEventListener('abort', giveUp)
    if (lost.aborted) giveUp()
    return child.ended
  }
  const withLock = shared ? mutex.withLockShared : mutex.withLock
  try {
    return statusOf(await withLock(run, { timeout, signal: stopped.signal }), command, complain)
  } catch (error) {
    if (stopped.signal.aborted && !child) return 128 + constants.signals[stopped.signal.reason]
    if (error.code === 'ERR_LOCK_TIMEOUT') {
      complain(timeout === 0 ? 'the lock is taken' : `the lock was not free within ${timeout / 1000} s`)
      return conflictStatus
    }
    complain(child ? `the lock is lost: ${reasonOf(error)}` : reasonOf(error))
    await child?.ended
    return 1
  } finally {
    await createMutex.close()
  }
}

function start([file, ...parameters]) {
  const process_ = spawn(file, parameters, { stdio: 'inherit' })
  let killing
  const ended = new Promise((resolve) => {
    process_.once('error', (error) => resolve({ error }))
    process_.once('exit', (status, signal) => {
      clearTimeout(killing)
      resolve({ status, signal })
    })
  })
  return {
    ended,
    kill: (signal) => process_.kill(signal),
    end() {
      process_.kill('SIGTERM')
      killing = setTimeout(() => process_.kill('SIGKILL'), GRACE)
    },
  }
}

function statusOf({ status, signal, error }, [file], complain) {
  if (!error) return signal ? 128 + constants.signals[signal] : status
  complain(`${file}: ${error.code === 'ENOENT' ? 'no such command' : error.message}`)
  return error.code === 'ENOENT' ? 127 : 126
}

function reasonOf(error) {
  const reason = error.code === 'ERR_LOCK_LOST' && error.cause ? error.cause : error
  return `${reason.message} (${reason.code})`
}

module.exports = { supervise }
