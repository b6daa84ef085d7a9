'use strict'

// What the mutexes of both contracts have in common.

const core = require('./client.js')
const { acquire, runHolding } = require('./acquire.js')
const { toAcquireOptions, toCallback, toKey } = require('./arguments.js')
const { asyncDispose } = require('./hold.js')

/**
 * The `createMutex` of one owner.
 *
 * @param {import('./owner.js').Owner} owner
 * @param {(key: object, mode: number) => Locks} toLocks
 * @param {() => Promise<void>} close
 */
function toCreateMutex(owner, toLocks, close) {
  const createMutex = (name) => new Mutex(owner, toKey(name), toLocks)
  createMutex.close = close
  createMutex[asyncDispose] = close
  return createMutex
}

/** The methods for one mode, which need no `this`. */
class Methods {
  constructor(locks) {
    this.lock = (options) => locks.lock(options)
    this.unlock = () => locks.unlock()
    this.tryLock = () => locks.tryLock()
    this.withLock = (fn, options) => locks.withLock(fn, options)
  }
}

/**
 * What users get for a name. The methods of the original are its own; the others are made when they are asked for, as ten
 * thousand names have ten thousand mutexes.
 */
class Mutex extends Methods {
  #owner
  #key
  #toLocks
  #shared
  #holders

  constructor(owner, key, toLocks) {
    super(toLocks(key, 0))
    this.#owner = owner
    this.#key = key
    this.#toLocks = toLocks
  }

  get #inSharedMode() {
    return (this.#shared ??= new Methods(this.#toLocks(this.#key, core.SHARED)))
  }

  get lockShared() {
    return this.#inSharedMode.lock
  }

  get unlockShared() {
    return this.#inSharedMode.unlock
  }

  get tryLockShared() {
    return this.#inSharedMode.tryLock
  }

  get withLockShared() {
    return this.#inSharedMode.withLock
  }

  get holders() {
    return (this.#holders ??= () => this.#owner.holders(this.#key))
  }
}

const toItself = (_, hold) => hold

/**
 * The locks of one mutex in one mode. What `lock()` and `tryLock()` resolve to, what `unlock()` does, and who is told of a
 * loss is the contract's to say.
 */
class Locks {
  /**
   * @param {import('./owner.js').Owner} owner
   * @param {{ high: number, low: number, flags: number }} key
   * @param {number} how the flags of all acquires
   */
  constructor(owner, key, how) {
    this.owner = owner
    this.key = key
    this.how = how
  }

  lock(options) {
    // Without options nothing can throw, and the detour would cost as much as a local hand-over.
    return options === undefined ? this.#lock() : this.#lockWithin(options)
  }

  #lock(limits) {
    return acquire(this, core.PATIENT, limits, this.constructor.toLocked)
  }

  async #lockWithin(options) {
    return this.#lock(toAcquireOptions(options))
  }

  tryLock() {
    return acquire(this, 0, undefined, this.constructor.toTried)
  }

  async withLock(fn, options) {
    const callback = toCallback(fn)
    const limits = toAcquireOptions(options)
    const hold = await acquire(this, core.PATIENT | core.SCOPED, limits, toItself)
    this.onScoped(hold)
    return runHolding(hold, callback, limits !== undefined)
  }

  /** What `lock()` resolves to. @param {Locks} locks @param {import('./hold.js').Hold} hold @abstract */
  static toLocked

  /** What `tryLock()` resolves to; no hold: the lock is taken. @param {Locks} locks @param {import('./hold.js').Hold} [hold] @abstract */
  static toTried

  /** What an unlock function does. @param {import('./hold.js').Hold} hold */
  release(hold) {
    return hold.release()
  }

  /** Is told of the hold of a `withLock()`. */
  onScoped() {}

  /** Is told of the loss of a hold that was not given up before, and whether it was a `withLock()`'s. */
  onLost() {}
}

module.exports = { Locks, toCreateMutex }
