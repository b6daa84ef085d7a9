// Loses many holds at once where telling of each one fails. Prints, as JSON, what their holders were told all the same, and
// what was told of the failures.

const { once } = require('node:events')
const pg = require('pg')
const contract2 = require('../../v2.js')

const MANY = 20
const failures = []
process.on('uncaughtException', (error) => failures.push(error.message))

async function main(connectionString) {
  const owner = contract2(connectionString, { applicationName: 'unlucky' })
  const numbers = Array.from({ length: MANY }, (_, index) => index)
  const unlocks = await Promise.all(numbers.map((index) => owner(`mail ${index}`).lock()))
  const started = []
  const run = (index) => new Promise((start) => {
    started.push(owner(`inside ${index}`).withLock(() => new Promise(() => start()), {}))
  })
  await Promise.all(numbers.map(run))
  const ended = Promise.allSettled(started)
  const told = Promise.all(unlocks.map(({ signal }) => once(signal, 'abort')))
  const { abort } = AbortController.prototype
  AbortController.prototype.abort = function (reason) {
    abort.call(this, reason)
    throw new Error('on purpose')
  }
  const client = new pg.Client({ connectionString })
  await client.connect()
  await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'unlucky'`)
  await client.end()
  await told
  const inside = (await ended).map(({ reason }) => reason.code)
  const outside = (await Promise.allSettled(unlocks.map((unlock) => unlock()))).map(({ reason }) => reason.code)
  await new Promise(setImmediate)
  console.log(JSON.stringify({ inside, outside, failures }))
}

main(...process.argv.slice(2))
