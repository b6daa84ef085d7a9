// What a worker does with its peer. Each checks, while it measures, that nobody else is inside.

/** Milliseconds of the machine's monotonic clock, the same for all processes. */
const now = () => Number(process.hrtime.bigint()) / 1e6

const callersOf = new WeakMap()

/** The same owners for each repetition. */
function callers(peer, count) {
  const known = callersOf.get(peer) ?? []
  callersOf.set(peer, known)
  while (known.length < count) known.push(peer.caller())
  return known.slice(0, count)
}

/** Who is inside a name; and, where asked for, whether they came in the order of their calls. */
class Guard {
  #inside = new Set()
  #called = 0
  #served = 0

  call = () => this.#called++

  enter(name, turn, inOrder) {
    if (this.#inside.has(name)) throw new Error(`"${name}" has two holders`)
    this.#inside.add(name)
    if (inOrder && turn !== this.#served++) throw new Error(`call ${turn} was served as number ${this.#served - 1}`)
  }

  leave(name) {
    this.#inside.delete(name)
  }
}

/** Each caller takes and gives back its lock, again and again, for a time. */
export async function pairs(peer, { count, milliseconds, name, inOrder = false }) {
  const guard = new Guard()
  const latencies = []
  const begin = performance.now()
  const end = begin + milliseconds
  const owners = callers(peer, count)
  const run = async (lock, index) => {
    const own = name ?? `bench ${index}`
    for (let at = performance.now(); at < end; ) {
      const turn = guard.call()
      const release = await lock(own)
      guard.enter(own, turn, inOrder)
      // What answers without a server must let the rest of the program run as well. Who holds the lock does so: the others go on
      // waiting for it, and come back to it together.
      if (turn % 1000 === 999) await new Promise(setImmediate)
      guard.leave(own)
      await release()
      const after = performance.now()
      latencies.push(after - at)
      at = after
    }
  }
  await Promise.all(owners.map(run))
  const seconds = (performance.now() - begin) / 1000
  latencies.sort((a, b) => a - b)
  const quantile = (part) => latencies[Math.floor(part * (latencies.length - 1))]
  return { pairs: latencies.length, seconds, p50: quantile(0.5), p99: quantile(0.99) }
}

/** Callers take permits of one semaphore again and again, each for a turn of the event loop. */
export async function permits(peer, { callers: count, permits: most, milliseconds }) {
  let inside = 0
  const latencies = []
  const begin = performance.now()
  const end = begin + milliseconds
  const run = async (take) => {
    for (let at = performance.now(); at < end; at = performance.now()) {
      const release = await take(most)
      if (++inside > most) throw new Error(`${inside} hold one of ${most} permits`)
      latencies.push(performance.now() - at)
      await new Promise(setImmediate)
      inside--
      await release()
    }
  }
  await Promise.all(callers(peer, count).map(run))
  const seconds = (performance.now() - begin) / 1000
  latencies.sort((a, b) => a - b)
  const quantile = (part) => latencies[Math.floor(part * (latencies.length - 1))]
  return { count: latencies.length, seconds, p50: quantile(0.5), p99: quantile(0.99) }
}

/** Callers in several processes compete for one name until a moment; gives the turns, for the parent to compare. */
export async function compete(peer, { count, from, until, name }) {
  await new Promise((resolve) => setTimeout(resolve, from - now()))
  /** Begin and end of each turn, one after the other. */
  const turns = []
  const run = async (lock) => {
    while (now() < until) {
      const release = await lock(name)
      const begin = now()
      turns.push(begin, now())
      await release()
      if (turns.length % 1000 === 0) await new Promise(setImmediate)
    }
  }
  await Promise.all(callers(peer, count).map(run))
  return { turns }
}

/** Grants to standbys that nobody has asked for yet, and who asks. */
const elections = []
let onElected

/** Callers of connections of their own wait for one name, for as long as it takes. */
export async function stand(peer, { count, name = 'bench leader' }) {
  for (let index = 0; index < count; index++) {
    // Who is ended by the server loses its lock, or its wait.
    peer.standby(index, name).then(
      () => {
        elections.push(now())
        onElected?.()
      },
      () => {},
    )
  }
  return { key: peer.keyOf(name) }
}

/** When the next standby was granted the lock, on the monotonic clock. */
export async function elected() {
  while (elections.length === 0) await new Promise((resolve) => (onElected = resolve))
  return { at: elections.shift() }
}

/** Does nothing for a time. */
export async function idle(_, { milliseconds }) {
  await new Promise((resolve) => setTimeout(resolve, milliseconds))
  return {}
}

let held = []

/** Takes many names at once, and keeps them. */
export async function hold(peer, { names, prefix = 'held' }) {
  const [lock] = callers(peer, 1)
  const before = process.memoryUsage().rss
  const begin = performance.now()
  held = await Promise.all(Array.from({ length: names }, (_, index) => lock(`${prefix} ${index}`)))
  const took = performance.now() - begin
  return { took, grown: process.memoryUsage().rss - before }
}

/** Gives them back. */
export async function give() {
  const begin = performance.now()
  await Promise.all(held.map((release) => release()))
  const took = performance.now() - begin
  held = []
  return { took }
}

const grants = new Map()

/** Waits for names that others hold, until {@link served} or {@link drained}. */
export function wait(peer, { names }) {
  grants.clear()
  const owners = callers(peer, peer.ownerPerWait ? names.length : 1)
  for (const [index, name] of names.entries()) {
    const lock = owners[index % owners.length]
    const granted = lock(name).then((release) => ({ at: now(), release }))
    grants.set(name, granted)
  }
  return {}
}

/** When it was granted, on the monotonic clock; gives it back. */
export async function served(_, { name }) {
  const { at, release } = await grants.get(name)
  grants.delete(name)
  await release()
  return { at }
}

/** When the last of them was granted. */
export async function drained() {
  const all = await Promise.all(grants.values())
  const last = Math.max(...all.map(({ at }) => at))
  await Promise.all(all.map(({ release }) => release()))
  return { at: last }
}
