'use strict'
// Holds locks and waits for others, with the options of its parameters, and prints a line of JSON for each call that ends.

const { writeSync } = require('node:fs')
const advisoryLock = require('../../index.js')

const [connectionString, held, awaited, options] = process.argv.slice(2)
const print = (event, more) => writeSync(1, `${JSON.stringify({ event, ...more })}\n`)

process.stdin.resume().on('end', () => process.exit())

async function main() {
  for (const name of held.split(',')) {
    const unlock = await advisoryLock(connectionString, JSON.parse(options))(name).lock()
    unlock.signal.addEventListener('abort', () => print('lost', { name, code: unlock.signal.reason.cause.code }))
  }
  for (const name of awaited.split(',')) {
    advisoryLock(connectionString, JSON.parse(options))(name)
      .lock()
      .then(
        () => print('granted', { name }),
        ({ code }) => print('refused', { name, code }),
      )
  }
  print('held', { pid: process.pid })
}
main()
