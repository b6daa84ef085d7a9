'use strict'

// What a hold of several keys has in common, be they all of them (all.js) or the parts of a permit (semaphore.js).

const { throwIfAborted } = require('./abort-reason.js')
const { acquire } = require('./acquire.js')
const { toAcquireOptions } = require('./arguments.js')
const { tellOver, traceTaking } = require('./diagnostics.js')
const { lockTimeout, notHeld } = require('./errors.js')
const { LatestHolds } = require('./latest-holds.js')
const { Limit } = require('./limit.js')
const { toLossController } = require('./loss-controller.js')
const { tellOfLoss } = require('./loss-news.js')
const { PATIENT, SCOPED } = require('./native.js')

const toItself = (_, hold) => hold

/** Waits for one part. It begins at once, and never throws: what was begun before it is not forgotten. */
const takePart = async (part, limits) => acquire(part, PATIENT | SCOPED, limits, toItself)

/** Takes one part if it is free. */
const tryPart = async (part, limits) => acquire(part, SCOPED, limits, toItself)

/** One hold to its holder: it is lost as soon as one of its parts is, and given up as a whole. */
class HoldOfSeveral {
  /** Is told of the loss as well, by whoever runs something under the hold. */
  whileHeld
  #parts
  #error
  #controller
  #released
  #isOver = false

  /**
   * @param {LocksOfSeveral} locks among which it is one
   * @param {import('./hold.js').Hold[]} parts
   */
  constructor(locks, parts) {
    this.locks = locks
    this.#parts = parts
    locks.owner.several.holds.add(this)
    for (const part of parts) {
      part.whileHeld = () => this.#lose(part.error)
      // Between its grant and now.
      if (part.error) this.#lose(part.error)
    }
  }

  get signal() {
    if (!this.#controller) {
      this.#controller = toLossController(() => this.look())
      if (this.#error) this.#controller.abort(this.#error)
    }
    return this.#controller.signal
  }

  /** Why it is lost, as far as that is known by now or can be found out: of all parts at once. @returns {Error | undefined} */
  look() {
    if (!this.#error && !this.#isOver) this.#parts[0].look()
    return this.#error
  }

  get error() {
    return this.#error
  }

  get parts() {
    return this.#parts
  }

  get isOver() {
    return this.#isOver
  }

  /** Gives all parts up: resolves to whether that was still to do, rejects if one was lost before. Always the same promise. */
  release() {
    if (this.#released) return this.#released
    this.#isOver = true
    this.locks.owner.several.holds.delete(this)
    this.#released = this.#release()
    tellOver(this)
    return this.#released
  }

  /** It was given up with its owner. */
  markReleased() {
    this.#isOver = true
    this.locks.owner.several.holds.delete(this)
    tellOver(this)
  }

  /** The server's time, in milliseconds since 1970, at which all parts were held. */
  async verify() {
    if (this.#error) throw this.#error
    if (this.#isOver) throw notHeld()
    const times = await Promise.all(this.#parts.map((part) => part.verify()))
    return Math.min(...times)
  }

  async #release() {
    const outcomes = await Promise.allSettled(this.#parts.map((part) => part.release()))
    const failed = outcomes.find(({ status }) => status === 'rejected')
    // A part was gone when its end was to be confirmed.
    if (!this.#error && failed?.reason.code === 'ERR_LOCK_LOST') this.#tell(failed.reason)
    if (failed) throw failed.reason
    return outcomes.every(({ value }) => value)
  }

  #lose(error) {
    if (this.#error || this.#isOver) return
    this.locks.owner.several.holds.delete(this)
    tellOver(this)
    this.#tell(error)
    // Worth nothing without the part that is lost, and in the way of others.
    giveBack(this.#parts)
  }

  #tell(error) {
    this.#error = error
    this.locks.contract.onLost(error)
    tellOfLoss(this, error, () => this.#controller?.abort(error))
    this.whileHeld?.()
  }
}

/**
 * The locks of a mutex that is made of several keys.
 *
 * @typedef {object} Contract how the entry of the package shapes results
 * @property {number} flags of all acquires
 * @property {(hold: HoldOfSeveral) => unknown} toLocked what `lock()` resolves to
 * @property {(hold?: HoldOfSeveral) => unknown} toTried what `tryLock()` resolves to; no hold: it is taken
 * @property {(hold?: HoldOfSeveral) => Promise<unknown>} unlock what `unlock()` does with the latest hold, if there is one
 * @property {(hold: HoldOfSeveral) => Promise<unknown>} release what an unlock function does
 * @property {(error: Error) => void} onLost
 */
class LocksOfSeveral {
  #taken = new LatestHolds()

  /** @param {import('./owner.js').Owner} owner @param {Contract} contract */
  constructor(owner, contract) {
    this.owner = owner
    this.contract = contract
  }

  async lock(options) {
    const hold = await this.takeHold(toAcquireOptions(options))
    this.#taken.add(hold)
    return this.contract.toLocked(hold)
  }

  async tryLock() {
    const hold = await this.tryTakeHold()
    if (hold) this.#taken.add(hold)
    return this.contract.toTried(hold)
  }

  unlock() {
    return this.contract.unlock(this.#taken.takeLatest())
  }

  release(hold) {
    return this.contract.release(hold)
  }

  tryTakeHold() {
    return traceTaking(this, undefined, () => this.tryTake())
  }

  takeHold(limits) {
    return traceTaking(this, limits, () => this.takeUntraced(limits))
  }

  /** Takes a hold within these limits. Those who trace locks are told by {@link LocksOfSeveral.takeHold}. */
  async takeUntraced(limits) {
    if (limits?.timeout === 0) {
      throwIfAborted(limits.signal)
      const hold = await this.tryTake(limits.signal)
      if (!hold) throw lockTimeout(0)
      return hold
    }
    const wait = { since: performance.now() }
    const { waits } = this.owner.several
    waits.add(wait)
    try {
      return await this.take(new TimeLeft(limits))
    } finally {
      waits.delete(wait)
    }
  }

  /** What is told of it to those who trace locks. @returns {{ name: unknown, key: unknown, mode: string }} @abstract */
  describe() {}

  /** Waits until all that belongs to a hold is held. @param {TimeLeft} left @returns {Promise<HoldOfSeveral>} @abstract */
  async take() {}

  /** Takes a hold if that is possible without waiting. @param {AbortSignal} [signal] @returns {Promise<HoldOfSeveral | undefined>} @abstract */
  async tryTake() {}
}

/** The time that a call of several steps has left, and the signal that ends it. */
class TimeLeft {
  #timeout
  #deadline
  #signal

  constructor({ timeout = Infinity, signal } = {}) {
    this.#timeout = timeout
    this.#deadline = performance.now() + timeout
    this.#signal = signal
  }

  /**
   * The limits of the next step; other signals may end it as well. A step is not begun without time.
   *
   * @throws {Error} `ERR_LOCK_TIMEOUT`, or the signal's reason
   */
  limits(signal = this.#signal) {
    throwIfAborted(this.#signal)
    if (this.#deadline === Infinity) return signal && { timeout: Infinity, signal }
    const timeout = this.#deadline - performance.now()
    if (timeout <= 0) throw lockTimeout(this.#timeout)
    return { timeout, total: this.#timeout, signal }
  }

  get signal() {
    return this.#signal
  }

  /** Awaits what others have begun as well, and which therefore goes on where this call has no time left. */
  async race(shared) {
    // Whoever does not come to await it does not hear of its failure either.
    shared.catch(() => {})
    const limits = this.limits()
    if (!limits) return shared
    const limit = new Limit(limits)
    const over = new Promise((_, reject) => (limit.onEnd = reject))
    try {
      return await Promise.race([shared, over])
    } finally {
      limit.lift()
    }
  }
}

/** Gives back what a call does not need after all. Whoever lost it meanwhile has nothing to give back. */
function giveBack(holds) {
  for (const hold of holds) hold.release().catch(() => {})
}

/** The same, and resolves when the server has them back: others, who are told of it on another way, find them free. */
async function giveBackFully(holds) {
  await Promise.allSettled(holds.map((hold) => hold.release()))
}

/**
 * Awaits acquires that are under way, of which either all are wanted or none.
 *
 * @param {Promise<import('./hold.js').Hold | undefined>[]} acquires
 * @returns {Promise<{ holds: import('./hold.js').Hold[], denied: number[] }>} what was granted, and the places of what was not
 * @throws the first error; what was granted is given back then
 */
async function collect(acquires) {
  const outcomes = await Promise.allSettled(acquires)
  const holds = outcomes.map(({ value }) => value).filter(Boolean)
  const failed = outcomes.find(({ status }) => status === 'rejected')
  if (failed) {
    giveBack(holds)
    throw failed.reason
  }
  const denied = outcomes.flatMap(({ value }, place) => (value ? [] : [place]))
  return { holds, denied }
}

module.exports = { HoldOfSeveral, LocksOfSeveral, TimeLeft, collect, giveBack, giveBackFully, takePart, tryPart }
