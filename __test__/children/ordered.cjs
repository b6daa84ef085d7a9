'use strict'
// Owners that take several of the names at random, always in the order of the list; reports how often, and what failed.

const advisoryLock = require('../../index.js')

const [connectionString, owners, rounds, list] = process.argv.slice(2)
const names = list.split(',')

async function owner(failed) {
  const createMutex = advisoryLock(connectionString)
  let done = 0
  for (let round = 0; round < Number(rounds); round++) {
    const unlocks = []
    try {
      for (const name of names.filter(() => Math.random() < 0.3)) unlocks.push(await createMutex(name).lock())
      done++
    } catch (error) {
      failed.push(error.code)
    }
    for (const unlock of unlocks) await unlock()
  }
  await createMutex.close()
  return done
}

async function main() {
  const failed = []
  const done = await Promise.all(Array.from({ length: Number(owners) }, () => owner(failed)))
  process.send({ done: done.reduce((sum, n) => sum + n), failed })
  process.disconnect()
}
main()
