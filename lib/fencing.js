'use strict'

// What others can make sure of a hold by: a token, which grows from hold to hold, and a fence, a statement for transactions of
// anybody's, which keeps the next holder out while such a transaction is open.

const { fenceStatement, gateOf, ALONE, FENCED, KEEP_ALIVE, SHARED } = require('./native.js')
const { offAbort, onAbort } = require('./abort-listeners.js')
const { reasonOf } = require('./abort-reason.js')
const { Call } = require('./call.js')
const { fencingUnavailable, lockTimeout, notHeld } = require('./errors.js')
const mailbox = require('./mailbox.js')
const { TimeLeft, collect, giveBack, takePart, tryPart } = require('./several.js')
const { unfencedHolds } = require('./unfenced-holds.js')

/** @typedef {{ token: bigint, fence: string }} Fencing */

/** Few holds have one: the others do not even have a field for it. @type {WeakMap<object, Fencing>} */
const fencings = new WeakMap()

/** What was made for a hold that was taken with `fencing`. */
const fencingOf = (hold) => fencings.get(hold)

/** A hold that is given a key and a token of its own, by the session that holds. */
class TakingOwnKey extends Call {
  constructor(hold) {
    super()
    this.hold = hold
  }

  settle(kind, _, error, fenced) {
    if (this.hold.error) this.reject(this.hold.error)
    else if (this.hold.isOver) this.reject(notHeld())
    else if (kind === FENCED) this.resolve(fenced)
    else this.reject(error)
  }
}

async function takeOwnKey(hold) {
  if (hold.error) throw hold.error
  if (hold.isOver) throw notHeld()
  return mailbox.ask(new TakingOwnKey(hold), (ticket) => hold.owner.native.fence(hold.request, ticket))
}

/** The lock of a key that transactions under fences keep, of the same owner as the hold that it is taken for. */
class Gate {
  /** @param {import('./hold.js').Hold} hold @param {number} mode of the holds whose fences are waited for: 0 or SHARED */
  constructor({ locks: { owner, high, low, flags } }, mode) {
    this.owner = owner
    ;[this.high, this.low] = gateOf(high, low, (flags & ~SHARED) | mode)
    this.flags = flags & (ALONE | KEEP_ALIVE)
  }

  onLost() {}
}

/** What to wait for: all that an exclusive hold excludes, or what a shared one does. The order is the same for everybody. */
const gatesOf = (hold) => (hold.locks.flags & SHARED ? [0] : [0, SHARED]).map((mode) => new Gate(hold, mode))

/**
 * Waits until no transaction is open any more that relies on a hold from before.
 *
 * @param {TimeLeft} left
 * @param {boolean} isPatient whether there is time to wait
 * @param {AbortSignal} ended ends the wait as well
 */
async function passGates(gates, left, isPatient, ended) {
  const limits = left.limits(ended)
  const { holds, denied } = await collect(gates.map((gate) => tryPart(gate, limits)))
  if (denied.length > 0) {
    giveBack(holds.splice(0))
    if (!isPatient) throw lockTimeout(0)
    try {
      for (const gate of gates) holds.push(await takePart(gate, left.limits(ended)))
    } catch (error) {
      giveBack(holds)
      throw error
    }
  }
  // Once given back they are no obstacle to fences of the new hold. One that is lost is none either.
  await left.race(Promise.allSettled(holds.map((hold) => hold.release())))
}

/** What ends the fencing of a hold before its time: its loss, or the caller's signal. */
class Ending {
  #hold
  #callers
  #controller = new AbortController()

  /** @throws what the caller's signal throws, which may be a library's */
  constructor(hold, callers) {
    this.#hold = hold
    this.#callers = callers
    if (callers) onAbort(callers, this.#abort)
    hold.whileHeld = () => this.#controller.abort(hold.error)
  }

  #abort = () => this.#controller.abort(reasonOf(this.#callers))

  get signal() {
    return this.#controller.signal
  }

  end() {
    this.#hold.whileHeld = undefined
    if (this.#callers) offAbort(this.#callers, this.#abort)
  }
}

/** Gives a hold its token and its fence. It is given back where that fails. */
async function fence(hold, left, isPatient) {
  const parts = hold.parts ?? [hold]
  let ending
  try {
    ending = new Ending(hold, left.signal)
    const ownKeys = await left.race(Promise.all(parts.map(takeOwnKey)))
    const waiting = parts.filter((_, place) => !ownKeys[place].isCovered)
    if (waiting.length > 0) await passGates(waiting.flatMap(gatesOf), left, isPatient, ending.signal)
    if (hold.error) throw hold.error
    if (hold.isOver) throw notHeld()
    for (const part of parts) mailbox.open(part.owner.native.completeFence(part.request))
    fencings.set(hold, toFencing(hold, parts, ownKeys))
    return hold
  } catch (error) {
    giveBack([hold])
    throw hold.error ?? error
  } finally {
    ending?.end()
  }
}

function toFencing({ locks: { name } }, parts, ownKeys) {
  const tokens = ownKeys.map(({ token }) => BigInt(token))
  const held = parts.map(({ locks: { high, low, flags } }, place) => ({ high, low, flags, ownNumber: ownKeys[place].ownNumber }))
  // Of several keys some may have been given themselves.
  const names = [name].flat().filter((one) => typeof one === 'string')
  return {
    // All parts are held when the last of them gets its token, so that no hold before has a greater one.
    token: tokens.reduce((greatest, token) => (token > greatest ? token : greatest)),
    fence: fenceStatement(held, names.join(', ')),
  }
}

/** Refuses to fence what is held by a transaction through a pooler, before the lock is waited for. @param {import('./owner.js').Owner} owner */
function checkFencing(owner) {
  if (owner.mostPinned < Infinity) throw fencingUnavailable()
}

/**
 * Takes a hold within these limits, with a token and a fence.
 *
 * @template {import('./hold.js').Hold | import('./several.js').HoldOfSeveral} T
 * @param {import('./owner.js').Owner} owner
 * @param {{ timeout: number, signal?: AbortSignal }} limits
 * @param {() => Promise<T>} take the hold without them, within the same limits
 */
async function takeFenced(owner, { timeout, signal }, take) {
  checkFencing(owner)
  const isPatient = timeout > 0
  const since = isPatient ? performance.now() : undefined
  const left = new TimeLeft(isPatient ? { timeout, signal } : { signal })
  const hold = await take()
  unfencedHolds.set(hold, since)
  try {
    return await fence(hold, left, isPatient)
  } finally {
    unfencedHolds.delete(hold)
  }
}

module.exports = { checkFencing, fencingOf, takeFenced }
