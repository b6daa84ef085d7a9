'use strict'
// Stands for election, and prints what it is told as lines of JSON. Ends when its standard input does.

const advisoryLock = require('../../index.js')

const [connectionString, name] = process.argv.slice(2)
const election = advisoryLock(connectionString)(name).elect(
  ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve)),
  { backoff: { min: 50, max: 100 } },
)
for (const event of ['standby', 'elected', 'resigned', 'lost']) {
  election.on(event, (what) => console.log(JSON.stringify({ event, code: what?.code })))
}
process.stdin.resume().on('end', () => process.exit())
