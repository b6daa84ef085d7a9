'use strict'
// Does with its mutexes what its parent asks for: { name, method, parameters } → { value } or { code }. One owner.

const advisoryLock = require('../../index.js')

const [connectionString] = process.argv.slice(2)
const createMutex = advisoryLock(connectionString)

process.on('message', async ({ name, method, parameters = [] }) => {
  try {
    const value = await createMutex(name)[method](...parameters)
    process.send({ value: typeof value === 'function' ? 'function' : value })
  } catch (error) {
    process.send({ code: error.code })
  }
})
process.send('ready')
