'use strict'

// What the mutexes of both contracts have in common.

const core = require('./client.js')
const { acquire, runHolding } = require('./acquire.js')
const { toAcquireOptions, toCallback, toKey } = require('./arguments.js')
const { asyncDispose } = require('./hold.js')

/**
 * The `createMutex` of one owner.
 *
 * @param {(key: Key) => Locks} toLocks in exclusive mode
 * @param {() => Promise<void>} close
 */
function toCreateMutex(toLocks, close) {
  const createMutex = (name) => new Mutex(toLocks(toKey(name)))
  createMutex.close = close
  createMutex[asyncDispose] = close
  return createMutex
}

/** @typedef {{ high: number, low: number, flags: number }} Key two halves, and SINGLE where they are of one number */

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
  #locks
  #others

  constructor(locks) {
    super(locks)
    this.#locks = locks
  }

  static #othersOf(mutex) {
    return (mutex.#others ??= new Others(mutex.#locks))
  }

  get lockShared() {
    return Mutex.#othersOf(this).shared.lock
  }

  get unlockShared() {
    return Mutex.#othersOf(this).shared.unlock
  }

  get tryLockShared() {
    return Mutex.#othersOf(this).shared.tryLock
  }

  get withLockShared() {
    return Mutex.#othersOf(this).shared.withLock
  }

  get holders() {
    return Mutex.#othersOf(this).holders
  }
}

/** The methods of a mutex that the original has not. */
class Others {
  constructor(locks) {
    this.shared = new Methods(locks.inSharedMode())
    this.holders = () => locks.owner.holders(locks.key)
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
   * @param {Key} key
   * @param {number} how the flags of all acquires, besides the key's
   */
  constructor(owner, { high, low, flags }, how) {
    this.owner = owner
    this.high = high
    this.low = low
    this.how = flags | how
  }

  /** @returns {Key} */
  get key() {
    return { high: this.high, low: this.low, flags: this.how & core.SINGLE }
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

  /** The same in shared mode. @returns {Locks} @abstract */
  inSharedMode() {}

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
