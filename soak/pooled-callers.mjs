// A process that counts, until its standard input ends. A line for whatever happens, written at once so that it outlives a kill:
//   t <time>              all before that time has been written
//   b <id> <name> <time>  the holder has the lock
//   + <id> <time>         it has added one to the counter
//   x <id> <name> <ids> <time>  somebody else has meanwhile, in the sections of these ids
//   e <id> <time>         it is about to let go
//   r <id> <time>         it has let go
//   l <id> <time>         it was told that the lock is lost
//   o <code>              how a call ended

import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import advisoryLock from '../v2.js'
import { choices } from '../__test__/support/random.mjs'

const RECORDS = 3
/** Adds one to a counter that has a value, and keeps who has added last. */
const ADD = 'UPDATE counters SET value = value + 1, writers = (ARRAY[$3::text] || writers)[1:20] WHERE name = $1 AND value = $2'
const { number, seed, pooled, direct, callers, names } = JSON.parse(process.argv[2])
const { between, chance, pick } = choices(seed)
const now = () => Number(process.hrtime.bigint()) / 1e6
const write = (...words) => writeSync(RECORDS, `${words.join(' ')}\n`)
let over = false
let ids = 0

setInterval(() => write('t', now()), 100).unref()
process.stdin.on('end', () => (over = true)).resume()

/** Adds one to the counter, unless the lock is lost. */
async function count(client, name, id, signal) {
  const { rows } = await client.query('SELECT value FROM counters WHERE name = $1', [name])
  if (chance(50)) await sleep(between(0, 5))
  if (signal.aborted) return
  const [{ value }] = rows
  const { rowCount } = await client.query(ADD, [name, value, id])
  if (rowCount === 1) return write('+', id, now())
  const others = await client.query('SELECT writers[1:value - $2] AS ids FROM counters WHERE name = $1', [name, value])
  write('x', id, name, others.rows[0].ids.join(), now())
}

async function hold(unlock, name, client) {
  const id = `${number}.${ids++}`
  let isTold = false
  const told = () => {
    if (!isTold) write('l', id, now())
    isTold = true
  }
  write('b', id, name, now())
  unlock.signal.addEventListener('abort', told)
  if (unlock.signal.aborted) told()
  await count(client, name, id, unlock.signal)
  if (!isTold) write('e', id, now())
  try {
    await unlock()
    if (!isTold) write('r', id, now())
    isTold = true
  } catch (error) {
    told()
    throw error
  }
}

async function run(createMutex) {
  const client = new pg.Client(direct)
  await client.connect()
  while (!over) {
    const name = pick(names)
    try {
      const unlock = chance(30) ? await createMutex(name).tryLock() : await createMutex(name).lock(chance(30) ? { timeout: between(0, 500) } : {})
      if (unlock) await hold(unlock, name, client)
      write('o', unlock ? 'done' : 'denied')
    } catch (error) {
      write('o', error.code ?? error.name)
    }
    await sleep(between(0, 40))
  }
  await client.end()
}

// Two of this process that know nothing of each other, as if they were two.
const owners = [{ applicationName: 'soak 1' }, { applicationName: 'soak 2' }].map((options) => advisoryLock(`${pooled}?pgbouncer=true`, options))
await Promise.all(Array.from({ length: callers }, (_, index) => run(owners[index % owners.length])))
await Promise.all(owners.map((createMutex) => createMutex.close()))
write('t', now())
