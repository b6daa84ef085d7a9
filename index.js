'use strict'

// Contract 1: one owner per advisoryLock(connectionString), whose holds stack. The public face of index.d.ts.

const { EventEmitter } = require('node:events')
const core = require('./lib/client.js')
const { acquire, runHolding } = require('./lib/acquire.js')
const { strToKey, toAcquireOptions, toCallback, toConnectionString, toKey, toLocksOptions } = require('./lib/arguments.js')
const { AdvisoryLockError } = require('./lib/errors.js')
const { asyncDispose, toUnlockFunction } = require('./lib/hold.js')

function advisoryLock(connectionString, options) {
  const locks = core.openLocks(toConnectionString(connectionString), toLocksOptions(options))
  const owner = locks.openOwner()
  const client = new Client(locks, owner)
  const createMutex = (name) => {
    const key = toKey(name)
    const exclusive = methods(locks, owner, client, key, 0)
    const shared = methods(locks, owner, client, key, core.SHARED)
    return {
      ...exclusive,
      lockShared: shared.lock,
      unlockShared: shared.unlock,
      tryLockShared: shared.tryLock,
      withLockShared: shared.withLock,
    }
  }
  createMutex.client = client
  createMutex.close = () => client.end()
  createMutex[asyncDispose] = () => client.end()
  return createMutex
}

/** The methods for one key and mode, as `lock`, `unlock`, `tryLock`, `withLock`. */
function methods(locks, owner, client, key, mode) {
  const name = `${key} ${mode}`
  const onLost = (error) => client.noteLoss(name, error)

  const lock = async (options) => {
    const limits = toAcquireOptions(options)
    const hold = await acquire(locks, owner, key, mode | core.PATIENT, limits, onLost)
    return toUnlockFunction(hold, () => {
      // Whoever asks for this very hold is told of its loss here, and not again by `unlock()`.
      if (hold.error) client.takeLoss(name)
      return hold.release()
    })
  }

  const tryLock = async () => (await acquire(locks, owner, key, mode, undefined, onLost)) !== undefined

  const unlock = () =>
    new Promise((resolve, reject) => {
      const ticket = core.newNumber()
      core.expect(ticket, (kind, request, error) => {
        if (kind === core.RELEASED) {
          core.holds.get(request)?.giveUp()
          resolve(true)
        } else if (kind === core.NOT_HELD) {
          const loss = client.takeLoss(name)
          if (loss) reject(loss)
          else resolve(false)
        } else {
          reject(error)
        }
      })
      core.open(locks.releaseLatest(owner, key[0], key[1], mode, ticket))
    })

  const withLock = async (fn, options) => {
    const callback = toCallback(fn)
    const limits = toAcquireOptions(options)
    const flags = mode | core.PATIENT | core.SCOPED
    const hold = await acquire(locks, owner, key, flags, limits, (error) => client.tellLoss(error))
    return runHolding(hold, callback, limits !== undefined)
  }

  return { lock, unlock, tryLock, withLock }
}

/** In the place of the original's `pg.Client`. */
class Client extends EventEmitter {
  #locks
  #owner
  #ended
  /** Lost holds by key and mode: how many, and the latest error. */
  #losses = new Map()

  constructor(locks, owner) {
    super()
    this.#locks = locks
    this.#owner = owner
  }

  end(callback) {
    this.#ended ??= new Promise((resolve) => {
      const ticket = core.newNumber()
      core.expect(ticket, () => {
        resolve()
        process.nextTick(() => this.emit('end'))
      })
      core.open(this.#locks.closeOwner(this.#owner, ticket))
    })
    if (typeof callback === 'function') this.#ended.then(() => process.nextTick(callback))
    return this.#ended
  }

  /** A hold that `unlock()` would release is lost: the next one that finds nothing to release tells so. */
  noteLoss(name, error) {
    const count = (this.#losses.get(name)?.count ?? 0) + 1
    this.#losses.set(name, { count, error })
    this.tellLoss(error)
  }

  /** A loss that no `unlock()` has told yet. */
  takeLoss(name) {
    const loss = this.#losses.get(name)
    if (loss && --loss.count === 0) this.#losses.delete(name)
    return loss?.error
  }

  /** Tells those who listen; an `error` event without a listener would crash the process. */
  tellLoss(error) {
    process.nextTick(() => {
      if (this.listenerCount('error') > 0) this.emit('error', error)
    })
  }
}

module.exports = advisoryLock
module.exports.default = advisoryLock
module.exports.strToKey = strToKey
module.exports.AdvisoryLockError = AdvisoryLockError
