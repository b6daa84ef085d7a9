'use strict'
// Takes one lock and waits for another; prints a line of JSON for what happens, with the machine's monotonic time in
// milliseconds. Ends when its standard input does.

const advisoryLock = require('../../index.js')

const [connectionString, held, awaited] = process.argv.slice(2)
const print = (event, more) => console.log(JSON.stringify({ event, at: Number(process.hrtime.bigint()) / 1e6, ...more }))

process.stdin.resume().on('end', () => process.exit())

async function main() {
  const unlock = await advisoryLock(connectionString)(held).lock()
  unlock.signal.addEventListener('abort', () => print('lost', { code: unlock.signal.reason.code, cause: unlock.signal.reason.cause.code }))
  print('held')
  advisoryLock(connectionString)(awaited)
    .lock()
    .then(
      () => print('granted'),
      (error) => print('refused', { code: error.code }),
    )
}
main()
