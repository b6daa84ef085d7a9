'use strict'

const { HELP, UsageError } = require('./arguments.js')

/**
 * Runs a command to its end: reads the command line, does what it says, exits with its status. Prints nothing on stdout
 * that was not asked for, as that belongs to the command under the lock.
 *
 * @param {'withlock' | 'pgmutex'} program
 * @param {(parameters: string[], environment: object) => object} read its command line
 */
async function main(program, read) {
  const complain = (message) => console.error(`${program}: ${message}`)
  let job
  try {
    job = read(process.argv.slice(2), process.env)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    complain(error.message)
    console.error(`Try ${program} --help`)
    process.exitCode = error.status
    return
  }
  if (job.help) return console.log(HELP[program])
  if (job.version) return console.log(require('../../package.json').version)
  for (const option of job.ignored) complain(`there is no option ${option}: it is ignored, as the original does`)
  const { supervise } = require('./supervise.js')
  process.exit(await supervise(job, complain))
}

module.exports = { main }
