'use strict'
// Has nothing to do but an election, which is stopped a moment after it has led.

const [connectionString, contract] = process.argv.slice(2)
const advisoryLock = require(`../../${contract}.js`)

const election = advisoryLock(connectionString)(`elected ${contract}`).elect(({ signal }) => {
  console.log('leads')
  setTimeout(() => void election.stop().then(() => console.log('stopped')), 300).unref()
  return new Promise((resolve) => signal.addEventListener('abort', resolve))
})
