'use strict'
// Connects when no descriptor is left, and again when there are some.

const { closeSync, openSync } = require('node:fs')
const advisoryLock = require('../../index.js')

const outcome = (lock) => lock.then((unlock) => unlock().then(() => 'ok'), (error) => error.code)

async function main() {
  const connectionString = process.argv[2]
  // What the core itself needs is there once it has connected.
  const first = advisoryLock(connectionString)
  await outcome(first('first').lock())
  const second = advisoryLock(connectionString, { applicationName: 'another connection' })
  const taken = []
  try {
    for (;;) taken.push(openSync('/dev/null'))
  } catch (error) {
    if (error.code !== 'EMFILE') throw error
  }
  const without = await outcome(second('second').lock())
  taken.forEach(closeSync)
  console.log(without, await outcome(second('second').lock()))
  await first.close()
  await second.close()
}
main()
