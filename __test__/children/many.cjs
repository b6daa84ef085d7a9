'use strict'
// Holds a lock, asks for many others in one turn and for holders soon after, and prints what has become of them.

const advisoryLock = require('../../index.js')

const [connectionString, count] = process.argv.slice(2)

process.stdin.resume().on('end', () => process.exit())

async function main() {
  const createMutex = advisoryLock(connectionString)
  const older = await createMutex('older').lock()
  const begin = performance.now()
  const locks = Array.from({ length: Number(count) }, (_, index) => createMutex(`many ${index}`).lock())
  const outcomes = Promise.allSettled(locks)
  await new Promise((resolve) => setTimeout(resolve, 20))
  const holders = await createMutex('older').holders()
  const settled = await outcomes
  const failed = [...new Set(settled.filter(({ reason }) => reason).map(({ reason }) => reason.code))]
  const granted = settled.filter(({ value }) => value).length
  const took = performance.now() - begin
  console.log(JSON.stringify({ event: 'done', granted, failed, isHeld: !older.signal.aborted, holders: holders.length, took }))
}
main()
