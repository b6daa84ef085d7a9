// A process of mixed callers. Writes down each critical section, for the judge, until its standard input says `over` or ends; then
// it has to end by itself. A number on its standard input blocks its thread for so many milliseconds.
//
// A line for whatever happens, written at once so that it outlives a kill:
//   t <time>                            all before that time has been written
//   b <id> <name> <owner> <x|s> <time>  the holder has the lock
//   e <id> <time>                       it is about to let go
//   r <id> <time>                       it has let go
//   l <id> <time>                       it was told that the lock is lost
//   o <way> <code>                      how a call ended that gave no lock, or a release that failed
//   s <way>                             a call that never ends
//   a <time>                            the thread runs again

import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import advisoryLock, { strToKey } from '../index.js'
import advisoryLock2 from '../v2.js'
import { choices } from '../__test__/support/random.mjs'

const RECORDS = 3
/** Milliseconds after which a call is taken to hang. The longest holds and all that is broken meanwhile take less together. */
const PATIENCE = 120_000

const { number, seed, connectionStrings, callers, standbys, names } = JSON.parse(process.argv[2])
const { between, chance, pick, weighted } = choices(seed)
const now = () => Number(process.hrtime.bigint()) / 1e6
const write = (...words) => writeSync(RECORDS, `${words.join(' ')}\n`)
const options = { applicationName: `soak ${number}` }
let over = false
let ids = 0
let owners = 0

const ticking = setInterval(() => write('t', now()), 100)
const orders = createInterface({ input: process.stdin })
orders.on('close', () => (over = true))
orders.on('line', (order) => {
  if (order === 'over') return orders.close()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(order))
  write('a', now())
})

/** One critical section. */
class Section {
  #id = `${number}.${ids++}`
  #ended = false

  constructor(name, owner, isShared) {
    write('b', this.#id, name, owner, isShared ? 's' : 'x', now())
  }

  /** Until the time is over. */
  async use(time) {
    await hold(time)
    this.leave()
  }

  /** Until the time is over or the lock lost, and its release. */
  async during(unlock, time) {
    this.endWith(unlock)
    await this.use(time)
    await ending(this, unlock)
  }

  /** It is over with the loss of the lock, which may have come together with the grant. */
  endWith({ signal }) {
    signal.addEventListener('abort', () => this.lost())
    if (signal.aborted) this.lost()
  }

  leave() {
    if (!this.#ended) write('e', this.#id, now())
  }

  released() {
    if (!this.#ended) write('r', this.#id, now())
    this.#ended = true
  }

  lost() {
    if (!this.#ended) write('l', this.#id, now())
    this.#ended = true
  }
}

async function hold(time) {
  if (time > 0) await sleep(time)
  else if (time === 0) await turn()
}

/** Lets the section end as its release does. */
async function ending(section, release) {
  try {
    const value = await release()
    section.released()
    if (value === false) throw Object.assign(new Error('held nothing'), { code: 'HELD_NOTHING' })
  } catch (error) {
    if (error.code === 'ERR_LOCK_LOST') section.lost()
    throw error
  }
}

const limits = () => ({
  ...(chance(50) && { timeout: between(0, 50) }),
  ...(chance(30) && { signal: AbortSignal.timeout(between(1, 50)) }),
})

/** What a caller may do with a mutex; `time` is how long it holds. */
const ways = {
  async lock({ mutex, begin, time, suffix }) {
    const unlock = await mutex[`lock${suffix}`](...(chance(50) ? [limits()] : []))
    await begin().during(unlock, time)
  },
  async withLock({ mutex, begin, time, suffix }) {
    let section
    const work = () => (section = begin()).use(time)
    try {
      await mutex[`withLock${suffix}`](work, ...(chance(50) ? [limits()] : []))
      section.released()
    } catch (error) {
      // Lost before the section began, perhaps.
      if (error.code === 'ERR_LOCK_LOST') section?.lost()
      throw error
    }
  },
  async tryLock({ mutex, begin, time, suffix, contract }) {
    const answer = await mutex[`tryLock${suffix}`]()
    if (!answer) return
    const section = begin()
    await section.use(time)
    await ending(section, contract === 1 ? mutex[`unlock${suffix}`] : answer)
  },
  /** Two names in any order, one in the other: deadlocks come about. */
  async nested({ createMutex, owner }) {
    const take = async (name, inside) => {
      const unlock = await createMutex(name).lock({ timeout: 10_000 })
      const section = new Section(name, owner, false)
      section.endWith(unlock)
      try {
        await inside()
      } finally {
        section.leave()
        await ending(section, unlock)
      }
    }
    const [first, second] = [pick(names), pick(names)]
    await take(first, () => take(second, () => hold(between(0, 5))))
  },
}

/** How long a section lasts, in milliseconds; -1: it does nothing at all. */
const sectionTime = () => between(...pick([[-1, 0], [0, 3], [0, 3], [0, 3], [0, 3], [0, 30], [0, chance(10) ? 200 : 5]]))

function libraryCaller(contract, index) {
  const createOwner = contract === 1 ? advisoryLock : advisoryLock2
  const maxWaitConnections = pick([1, 8])
  const createMutex = createOwner(pick(connectionStrings), { ...options, maxWaitConnections })
  const ownOwner = `${number}/${index}`
  const act = async () => {
    const way = weighted({ lock: 30, withLock: 40, tryLock: 25, ...(contract === 1 && { nested: 5 }) })
    const name = pick(names)
    const suffix = chance(30) ? 'Shared' : ''
    const begin = () => {
      const owner = contract === 1 ? ownOwner : `${ownOwner}.${owners++}`
      return new Section(name, owner, suffix !== '')
    }
    await noted(`${way}${suffix}`, () =>
      ways[way]({ createMutex, mutex: createMutex(name), begin, owner: ownOwner, time: sectionTime(), suffix, contract }),
    )
  }
  return { act, close: () => createMutex.close() }
}

/** Holds one name for seconds, so that a silent network finds a holder. */
function longCaller(index) {
  const createMutex = advisoryLock(pick(connectionStrings), options)
  const act = () =>
    noted('long', async () => {
      const unlock = await createMutex('long').lock()
      const section = new Section('long', `${number}/${index}`, false)
      await section.during(unlock, between(0, 12_000))
    })
  return { act, close: () => createMutex.close() }
}

/** One of many that stand for the same election, with connections of its own as a process has them. */
function standby(index) {
  const createMutex = advisoryLock2(pick(connectionStrings), { applicationName: `soak ${number}.${index}` })
  let section
  const election = createMutex('leader').elect(
    async () => {
      section = new Section('leader', `${number}/standby ${index}`, false)
      await section.use(sectionTime())
    },
    { backoff: { min: 20, max: 1000 } },
  )
  election.on('lost', () => section?.lost())
  election.on('resigned', () => {
    section?.released()
    write('o', 'standby', 'done')
  })
  const close = async () => {
    await election.stop()
    await createMutex.close()
  }
  return { act: () => sleep(100), close }
}

/** A plain client that uses the same keys. */
function plainCaller(index) {
  let client
  let section
  const connect = async () => {
    const connecting = new pg.Client({ connectionString: connectionStrings[0], application_name: options.applicationName })
    connecting.on('error', () => {
      section?.lost()
      client = undefined
    })
    await connecting.connect()
    return connecting
  }
  const act = () =>
    noted('plain', async () => {
      const name = pick(names)
      const ask = (what, suffix) => client.query(`SELECT pg_advisory_${what}${suffix}($1, $2)`, strToKey(name))
      const suffix = chance(30) ? '_shared' : ''
      client ??= await connect()
      const used = client
      try {
        await ask('lock', suffix)
        section = new Section(name, `${number}/${index}`, suffix !== '')
        if (client) await section.use(sectionTime())
        if (client) await ask('unlock', suffix)
        else throw Object.assign(new Error('lost'), { code: 'ERR_LOCK_LOST' })
        section.released()
      } catch (error) {
        section?.lost()
        // Whatever it still has goes with it.
        await used.end().catch(() => {})
        client = undefined
        throw error
      } finally {
        section = undefined
      }
    })
  return { act, close: () => client?.end().catch(() => {}) }
}

/** Notes how a call ends that does not end well, and one that does not end. */
async function noted(way, call) {
  const watch = setTimeout(() => write('s', way), PATIENCE)
  try {
    await call()
    write('o', way, 'done')
  } catch (error) {
    write('o', way, typeof error.code === 'string' ? error.code : error.name)
    if (!over) await sleep(between(0, 50))
  } finally {
    clearTimeout(watch)
  }
}

async function run({ act, close }) {
  while (!over) {
    await act()
    await hold(between(-1, 4))
  }
  await close()
}

const kinds = [(index) => libraryCaller(1, index), (index) => libraryCaller(2, index)]
await Promise.all([
  ...Array.from({ length: callers }, (_, index) => run(kinds[index % kinds.length](index))),
  ...Array.from({ length: standbys }, (_, index) => run(standby(index))),
  run(longCaller('long')),
  run(plainCaller('plain')),
])
clearInterval(ticking)
write('t', now())
