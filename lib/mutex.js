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
 * @param {(key: object, mode: number) => object} methods `lock`, `unlock`, `tryLock`, `withLock` for one key and mode
 * @param {() => Promise<void>} close
 */
function toCreateMutex(owner, methods, close) {
  const createMutex = (name) => {
    const key = toKey(name)
    const shared = methods(key, core.SHARED)
    return {
      ...methods(key, 0),
      lockShared: shared.lock,
      unlockShared: shared.unlock,
      tryLockShared: shared.tryLock,
      withLockShared: shared.withLock,
      holders: () => owner.holders(key),
    }
  }
  createMutex.close = close
  createMutex[asyncDispose] = close
  return createMutex
}

/**
 * A `lock` method.
 *
 * @param {(limits?: object) => Promise<unknown>} acquireWithin
 */
function toLock(acquireWithin) {
  const withOptions = async (options) => acquireWithin(toAcquireOptions(options))
  // Without options nothing can throw, and the detour would cost as much as a local hand-over.
  return (options) => (options === undefined ? acquireWithin() : withOptions(options))
}

/**
 * A `withLock` method.
 *
 * @param {number} how the flags of its acquires
 * @param {(error: Error) => void} [onLost]
 * @param {(hold: import('./hold.js').Hold) => void} [onHeld]
 */
function toWithLock(owner, key, how, onLost, onHeld) {
  const terms = { toValue: (hold) => hold, onLost }
  return async (fn, options) => {
    const callback = toCallback(fn)
    const limits = toAcquireOptions(options)
    const hold = await acquire(owner, key, how | core.PATIENT | core.SCOPED, limits, terms)
    onHeld?.(hold)
    return runHolding(hold, callback, limits !== undefined)
  }
}

module.exports = { toCreateMutex, toLock, toWithLock }
