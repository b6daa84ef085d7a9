'use strict'

const { Signals } = require('./signals.js')

// Before anything else, as each signal that comes earlier does what it does to any Node.js process.
const signals = new Signals()

const { UsageError, readPgmutex, readWithlock } = require('./arguments.js')
const { readPglocks } = require('./locks-arguments.js')
const { HELP } = require('./options.js')
const { Report, reasonOf } = require('./report.js')

/** How each program reads its command line, and what does what that says. The native part is loaded for that alone. */
const programs = {
  withlock: { read: readWithlock, load: () => require('./supervise.js').supervise },
  pgmutex: { read: readPgmutex, load: () => require('./supervise.js').supervise },
  pglocks: { read: readPglocks, load: () => require('./locks.js').showLocks },
}

/**
 * Runs a program to its end: reads the command line, does what it says, exits with its status. Prints nothing on stdout
 * that was not asked for, as that belongs to the command under the lock.
 *
 * @param {'withlock' | 'pgmutex' | 'pglocks'} program
 * @param {string[]} parameters
 */
async function main(program, parameters) {
  let job
  try {
    job = programs[program].read(parameters, process.env)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return refuse(program, error.message, error.status)
  }
  if (job.help) return console.log(HELP[program])
  if (job.version) return console.log(require('../../package.json').version)
  const report = new Report(program, job.verbose)
  for (const option of job.ignored ?? []) report.say(`there is no option ${option}: it is ignored, as the original does`)
  let end
  try {
    end = await programs[program].load()(program, job, signals, report)
  } catch (error) {
    report.say(reasonOf(error))
    end = { status: 1 }
  }
  await report.told
  exit(end)
}

/** Runs the program that the first parameter names. */
function choose(parameters) {
  const [program, ...others] = parameters
  if (Object.hasOwn(programs, program ?? '')) return main(program, others)
  if (program === '--version') return console.log(require('../../package.json').version)
  const usage = `Usage: advisory-lock-native <${Object.keys(programs).join(' | ')}> [--help] ...`
  if (program === '--help' || program === '-h') return console.log(usage)
  console.error(usage)
  process.exitCode = 2
}

function refuse(program, message, status) {
  console.error(`${program}: ${message}`)
  console.error(`Try ${program} --help`)
  process.exitCode = status
}

/** @param {import('./supervise.js').End} end */
function exit({ status, signal }) {
  process.exitCode = status
  if (!signal) process.exit()
  signals.release(signal)
  process.kill(process.pid, signal)
}

module.exports = { choose, main }
