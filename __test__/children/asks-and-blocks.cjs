'use strict'
// Asks for many locks in one turn of its event loop and blocks its JavaScript thread in that very turn, until it is told to go on by
// a file.

const { existsSync } = require('node:fs')
const advisoryLock = require('../../index.js')

const [connectionString, count, file] = process.argv.slice(2)

async function main() {
  const createMutex = advisoryLock(connectionString)
  await createMutex('first').withLock()
  const locks = Array.from({ length: Number(count) }, (_, index) => createMutex(`${index}`).lock())
  const nothing = new Int32Array(new SharedArrayBuffer(4))
  while (!existsSync(file)) Atomics.wait(nothing, 0, 0, 20)
  await Promise.all(locks)
  await createMutex.close()
}
main()
