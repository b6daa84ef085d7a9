'use strict'
// Takes and gives back permits again and again until it is killed. When each is held, on the clock that all processes share, is
// with the parent before the permit is given back.

const { setTimeout: sleep } = require('node:timers/promises')
const advisoryLock = require('../../v2.js')

const [connectionString, name, permits, callers] = process.argv.slice(2)
const semaphore = advisoryLock(connectionString).semaphore(name, Number(permits))
const now = () => Number(process.hrtime.bigint()) / 1e6
const tell = (message) => new Promise((resolve) => process.send(message, resolve))

async function call(caller) {
  for (;;) {
    const unlock = await semaphore.lock()
    await tell({ caller, from: now() })
    await sleep(1 + Math.random() * 10)
    await tell({ caller, to: now() })
    await unlock()
  }
}

for (let caller = 0; caller < Number(callers); caller++) {
  call(caller).catch((error) => {
    console.error(error)
    process.exit(1)
  })
}
