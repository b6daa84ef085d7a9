'use strict'
// Holds a permit of a semaphore until it is killed.

const advisoryLock = require('../../v2.js')

const [connectionString, name, permits] = process.argv.slice(2)

advisoryLock(connectionString)
  .semaphore(name, Number(permits))
  .lock()
  .then(() => process.send('held'))
