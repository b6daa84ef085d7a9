'use strict'

// Runs a command under a lock: the lock outlives no command, and no command outlives the lock.

const { existsSync } = require('node:fs')
const { constants } = require('node:os')
const { setImmediate: otherEvents, setTimeout: sleep } = require('node:timers/promises')
const advisoryLock = require('../../v2.js')
const native = require('../native.js')
const { Child } = require('./child.js')
const { Group } = require('./group.js')
const { holdingSessions, sessionName, variablesUnder } = require('./held-locks.js')
const { JobControl } = require('./job-control.js')
const { reasonOf } = require('./report.js')
const { Conflict, SelfWait, Waiting } = require('./waiting.js')

/** How many milliseconds a command has to end when its lock is lost, as others may have it already. */
const GRACE = 5000
/** After so many milliseconds somebody is told that the lock is kept for what the command has left behind. */
const PATIENCE = 10_000
/** So many milliseconds the server is given to hear of the end, of which the end of this process tells it as well. */
const GOODBYE = 500
const STATUS_OF_SIGNAL = 128
const USAGE = 2

/**
 * @typedef {object} End how this process is to end
 * @property {number} status
 * @property {'SIGINT'} [signal] by which it has to end instead
 */

/**
 * @param {string} program
 * @param {import('./arguments.js').Job} job
 * @param {import('./signals.js').Signals} signals
 * @param {import('./report.js').Report} report
 * @returns {Promise<End>}
 */
async function supervise(program, job, signals, report) {
  const applicationName = sessionName(program, job, process.env)
  const createMutex = advisoryLock(job.connectionString, { applicationName, publishNames: job.publishNames })
  const { name, shared, permits } = job
  const held = { key: advisoryLock.strToKey(name), shared, permits, pid: process.pid, session: applicationName }
  const control = JobControl.open(signals)
  try {
    const mutex = permits === undefined ? createMutex(name) : createMutex.semaphore(name, permits)
    const unlock = await new Waiting(mutex, { ...job, key: held.key }, signals.stopped, report).lock()
    report.step(`holds ${job.label}`)
    if (applicationName === undefined) held.sessions = await holdingSessions(mutex.holders)
    return await runUnder(unlock, job, variablesUnder(name, held, process.env), { signals, control, report })
  } catch (error) {
    if (signals.stopped.aborted) return endOfSignal(constants.signals[signals.stopped.reason], control)
    report.say(reasonOf(error))
    if (error instanceof Conflict) return { status: job.conflictStatus }
    return { status: error instanceof SelfWait ? USAGE : 1 }
  } finally {
    await Promise.race([createMutex.close(), sleep(GOODBYE)])
  }
}

/** Runs the command, and gives the lock up when nobody of it is left. */
async function runUnder(unlock, job, variables, { signals, control, report }) {
  // A signal may have come before the grant, and be read in the turn after that of the grant.
  await otherEvents()
  await otherEvents()
  signals.stopped.throwIfAborted()
  const lost = unlock.signal
  const sayLoss = () => report.say(`the lock is lost: ${reasonOf(lost.reason)}`)
  if (lost.aborted) {
    control?.takeBack()
    sayLoss()
    return { status: job.lostStatus }
  }
  let command
  try {
    command = await (native.startCommand ? Group : Child).start(job.command, variables, control?.terminalAtStart)
  } catch (error) {
    control?.takeBack()
    await unlock()
    return { status: explainFailedStart(job.command[0], error, report) }
  }
  report.stepAside()
  report.step(`runs the command${command.number ? `, the process group ${command.number}` : ''}`)
  if (!command.isGuarded) report.step('there is no /bin/sh: what kills this process by SIGKILL leaves the command running')
  control?.attach(command)
  signals.handTo((signal) => {
    if (signal === 'SIGCONT' && control) control.onContinued()
    else if (signal !== 'SIGPIPE' || !report.takeBrokenPipe()) command.signal(signal)
  })
  let killing
  const onLost = () => {
    killing = terminate(command)
    sayLoss()
  }
  if (lost.aborted) onLost()
  else lost.addEventListener('abort', onLost)

  const end = await command.ended
  report.step(end.signal ? `signal ${end.signal} has ended the command` : `the command has ended with status ${end.status}`)
  const telling = setTimeout(() => {
    report.say(`the command has ended, but not all processes of its group: ${job.label} is kept until they have`)
  }, PATIENCE)
  await command.gone
  clearTimeout(telling)
  clearTimeout(killing)
  lost.removeEventListener('abort', onLost)
  signals.drop()
  control?.detach(end)
  if (lost.aborted) return { status: job.lostStatus }
  try {
    await unlock()
  } catch (error) {
    // The news of it was still under way.
    report.say(`the lock is lost: ${reasonOf(error)}`)
    return { status: job.lostStatus }
  }
  report.step(`has given up ${job.label}`)
  return end.signal ? endOfSignal(end.signal, control) : { status: end.status }
}

/** Ends the command by force if it does not listen; also one that has been stopped, which hears of nothing else. */
function terminate(command) {
  command.signal('SIGTERM')
  command.signal('SIGCONT')
  return setTimeout(() => command.signal('SIGKILL'), GRACE)
}

function endOfSignal(signal, control) {
  return { status: STATUS_OF_SIGNAL + signal, signal: control?.mustEndBySignal(signal) ? 'SIGINT' : undefined }
}

/** Says why there is no command, and returns the status that a shell has for it. */
function explainFailedStart(file, { code }, report) {
  if (code === 'ENOENT' && !(file.includes('/') && existsSync(file))) {
    report.say(`${file}: no such command`)
    return 127
  }
  report.say(`${file}: cannot be run${code === 'ENOENT' ? ', as its interpreter is missing' : ''} (${code})`)
  return 126
}

module.exports = { supervise }
