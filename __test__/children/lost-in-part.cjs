'use strict'
// Takes a lock of several keys, or a permit, tells when it is held and when it is lost, and gives nothing back.

const advisoryLock = require('../../v2.js')

const [connectionString, kind, ...parameters] = process.argv.slice(2)
const createMutex = advisoryLock(connectionString, { idleTimeout: 100 })
const mutex = kind === 'all' ? createMutex.all(parameters) : createMutex.semaphore(parameters[0], Number(parameters[1]))

// What is held besides has a session of its own.
createMutex('besides').lock().then(async (besides) => {
  const unlock = await mutex.lock()
  await besides()
  unlock.signal.addEventListener('abort', () => {
    process.send({ told: unlock.signal.reason.code, held: createMutex.stats().held })
    process.disconnect()
  })
  process.send('held')
})
