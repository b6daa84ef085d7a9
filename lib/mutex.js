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
  const createMutex = (name) => {
    const key = toKey(name)
    const exclusive = toLocks(key, 0)
    let made
    const shared = () => (made ??= toLocks(key, core.SHARED))
    return {
      lock: (options) => exclusive.lock(options),
      unlock: () => exclusive.unlock(),
      tryLock: () => exclusive.tryLock(),
      withLock: (fn, options) => exclusive.withLock(fn, options),
      lockShared: (options) => shared().lock(options),
      unlockShared: () => shared().unlock(),
      tryLockShared: () => shared().tryLock(),
      withLockShared: (fn, options) => shared().withLock(fn, options),
      holders: () => owner.holders(key),
    }
  }
  createMutex.close = close
  createMutex[asyncDispose] = close
  return createMutex
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

  /** Is told of the hold of a `withLock()`. */
  onScoped() {}

  /** Is told of the loss of a hold that was not given up before, and whether it was a `withLock()`'s. */
  onLost() {}
}

module.exports = { Locks, toCreateMutex }
