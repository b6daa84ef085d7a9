'use strict'
// Takes a lock and prints as JSON what came of it, and after how long.

const advisoryLock = require('../../index.js')

const [connectionString, limits = '{}', options = '{}'] = process.argv.slice(2)
const createMutex = advisoryLock(connectionString, JSON.parse(options))
const begin = performance.now()
const print = (outcome) => console.log(JSON.stringify({ ...outcome, milliseconds: performance.now() - begin }))
createMutex('attempt')
  .lock(JSON.parse(limits))
  .then(
    () => print({ code: 'ok' }),
    ({ code, message, address, port }) => print({ code, message, address, port }),
  )
  .finally(() => createMutex.close())
