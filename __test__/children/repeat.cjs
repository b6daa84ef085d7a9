'use strict'
// Repeats one action many times after as many to warm up, in parts, and reports by how many bytes the process grew in the part in
// which it grew least: all of it, and JavaScript's part. A leak shows in each part; an allocator that spreads out, in some of them.
// Needs `--expose-gc`.

const { setImmediate: turn } = require('node:timers/promises')
const advisoryLock = require('../../index.js')

const [connectionString, action, count, callers, parts] = process.argv.slice(2)

const actions = {
  async lock(createMutex, caller) {
    const unlock = await createMutex(`mine ${caller}`).lock()
    if (!(await unlock())) throw new Error('it was not held')
  },
  async scoped(createMutex) {
    const value = await createMutex('ours').withLockShared(() => 5)
    if (value !== 5) throw new Error(`resolved to ${value}`)
  },
  refused: (createMutex) => expect('ECONNREFUSED', createMutex('mine').lock()),
  rejected: (createMutex) => expect('3D000', createMutex('mine').lock()),
  timeout: (createMutex) => expect('ERR_LOCK_TIMEOUT', createMutex('held').lock({ timeout: 1 })),
  abort: (createMutex) => expect('TimeoutError', createMutex('held').lock({ signal: AbortSignal.timeout(1) })),
  async client(createMutex, caller) {
    const another = advisoryLock(connectionString)
    await another(`mine ${caller}`).withLock(() => {})
    await another.close()
  },
}

async function expect(code, call) {
  const error = await call.then(
    () => new Error('granted'),
    (reason) => reason,
  )
  if (error.code !== code && error.name !== code) throw error
}

async function repeat(clients, times) {
  let left = times
  await Promise.all(
    clients.map(async (createMutex, caller) => {
      while (left-- > 0) await actions[action](createMutex, caller)
    }),
  )
}

async function memory() {
  // Finalizers of what the first collection found run between them.
  for (let round = 0; round < 5; round++) {
    await turn()
    global.gc()
  }
  const { rss, heapUsed } = process.memoryUsage()
  return { rss, heapUsed }
}

async function main() {
  const clients = Array.from({ length: Number(callers) }, () => advisoryLock(connectionString))
  await repeat(clients, Number(count))
  const sizes = [await memory()]
  for (let part = 0; part < parts; part++) {
    await repeat(clients, Number(count) / parts)
    sizes.push(await memory())
  }
  const leastGrowth = (what) => Math.min(...sizes.slice(1).map((size, part) => size[what] - sizes[part][what]))
  process.send({ rss: leastGrowth('rss'), heapUsed: leastGrowth('heapUsed') })
  // The parent looks at the server before it lets go.
  await new Promise((resolve) => process.once('message', resolve))
  process.disconnect()
}
main()
