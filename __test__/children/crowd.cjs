'use strict'
// Callers of separate owners who take turns at one name for a while; reports how many turns there were.

const advisoryLock = require('../../index.js')

const [connectionString, name, callers] = process.argv.slice(2)
let turns = 0
let over = false

async function caller() {
  const { withLock } = advisoryLock(connectionString)(name)
  while (!over) await withLock(() => void turns++)
}

process.on('message', (message) => {
  if (message === 'turns') process.send(turns)
  if (message === 'stop') over = true
})
Promise.all(Array.from({ length: Number(callers) }, caller)).then(() => {
  process.send({ turns })
  process.disconnect()
})
