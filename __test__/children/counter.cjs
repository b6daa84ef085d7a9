'use strict'
// Adds to a counter in the database by reading and then writing it, under the lock; notices whoever else is inside.

const pg = require('pg')
const advisoryLock = require('../../index.js')

// Where the locks are, if not where the counter is.
const [connectionString, callers, rounds, ways, lockString = connectionString] = process.argv.slice(2)

async function enter(client, fn) {
  const { rows } = await client.query('UPDATE room SET inside = inside + 1 RETURNING inside')
  if (rows[0].inside !== 1) throw new Error(`${rows[0].inside} are inside at once`)
  try {
    return await fn()
  } finally {
    await client.query('UPDATE room SET inside = inside - 1')
  }
}

async function add(client) {
  await enter(client, async () => {
    const { rows } = await client.query('SELECT n FROM counter')
    await client.query('UPDATE counter SET n = $1', [rows[0].n + 1])
  })
}

const how = {
  async withLock(mutex, work) {
    await mutex.withLock(work)
  },
  async lock(mutex, work) {
    const unlock = await mutex.lock()
    await work()
    await unlock()
  },
  async tryLock(mutex, work) {
    while (!(await mutex.tryLock())) await new Promise((resolve) => setTimeout(resolve, 1))
    await work()
    if (!(await mutex.unlock())) throw new Error('held nothing')
  },
  async timeout(mutex, work) {
    for (;;) {
      try {
        return await mutex.withLock(work, { timeout: 20 })
      } catch (error) {
        if (error.code !== 'ERR_LOCK_TIMEOUT') throw error
      }
    }
  },
  // A reader reads a number that no writer is about to change.
  async shared(mutex, work, client) {
    await mutex.withLockShared(async () => {
      const read = async () => (await client.query('SELECT n, inside FROM counter, room')).rows[0]
      const before = await read()
      const after = await read()
      if (before.inside !== 0 || after.inside !== 0) throw new Error('a writer is inside with a reader')
      if (before.n !== after.n) throw new Error('the counter changed under a reader')
    })
    await mutex.withLock(work)
  },
}

async function caller(index) {
  const client = new pg.Client({ connectionString, application_name: 'plain client' })
  await client.connect()
  // An owner of its own, as callers of one owner do not exclude each other.
  const mutex = advisoryLock(lockString)('counter')
  const chosen = ways.split(',')
  const way = how[chosen[index % chosen.length]]
  for (let round = 0; round < Number(rounds); round++) await way(mutex, () => add(client), client)
  await client.end()
}

Promise.all(Array.from({ length: Number(callers) }, (_, index) => caller(index))).then(
  () => {
    process.send('done')
    process.disconnect()
  },
  (error) => {
    console.error(error)
    process.exit(1)
  },
)
