'use strict'

// What the mutexes of both contracts have in common.

const { acquire } = require('./acquire.js')
const { toAcquireOptions, toCallback, toKey } = require('./arguments.js')
const { PATIENT, SCOPED, SINGLE } = require('./native.js')
const { runHolding } = require('./run-holding.js')
const { asyncDispose } = require('./unlock-function.js')

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
    this.holders = () => locks.holders()
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
   * @param {number} flags of all acquires, besides the key's
   */
  constructor(owner, key, flags) {
    this.owner = owner
    this.high = key.high
    this.low = key.low
    this.flags = key.flags | flags
  }

  /** @returns {Key} */
  get key() {
    return { high: this.high, low: this.low, flags: this.flags & SINGLE }
  }

  lock(options) {
    // An `async` function would cost as much as a local hand-over.
    try {
      return acquire(this, PATIENT, toAcquireOptions(options), this.constructor.toLocked)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  tryLock() {
    try {
      return acquire(this, 0, undefined, this.constructor.toTried)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async withLock(fn, options) {
    const callback = toCallback(fn)
    const limits = toAcquireOptions(options)
    const hold = await acquire(this, PATIENT | SCOPED, limits, toItself)
    this.onScoped(hold)
    return runHolding(hold, callback, limits !== undefined)
  }

  /** Who holds the lock or waits for it on the server. */
  holders() {
    return this.owner.holders(this.key)
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

  /** Is told of a hold that is lost, and whether it was a `withLock()`'s. @param {import('./hold.js').Hold} _hold @param {boolean} _isScoped */
  onLost(_hold, _isScoped) {}
}

module.exports = { Locks, Methods, Mutex, toCreateMutex }
