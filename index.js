'use strict'

// Contract 1: one owner per advisoryLock(connectionString), whose holds stack. The public face of index.d.ts.

const { EventEmitter } = require('node:events')
const core = require('./lib/client.js')
const { acquire } = require('./lib/acquire.js')
const { strToKey, toConnectionString, toLocksOptions } = require('./lib/arguments.js')
const { AdvisoryLockError } = require('./lib/errors.js')
const { toUnlockFunction } = require('./lib/hold.js')
const { toCreateMutex, toLock, toWithLock } = require('./lib/mutex.js')
const { Owner } = require('./lib/owner.js')

function advisoryLock(connectionString, options) {
  const owner = new Owner(toConnectionString(connectionString), toLocksOptions(options))
  const client = new Client(owner)
  const createMutex = toCreateMutex(
    owner,
    (key, mode) => methods(owner, client, key, mode),
    () => client.end(),
  )
  createMutex.client = client
  return createMutex
}

/** The methods for one key and mode. */
function methods(owner, client, key, mode) {
  const name = `${key.high} ${key.low} ${key.flags | mode}`
  const onLost = (error) => client.noteLoss(name, error)

  const toUnlock = (hold) =>
    toUnlockFunction(hold, () => {
      // Whoever asks for this very hold is told of its loss here, and not again by `unlock()`.
      if (hold.error) client.takeLoss(name)
      return hold.release()
    })
  const locking = { toValue: toUnlock, onLost }
  const lock = toLock((limits) => acquire(owner, key, mode | core.PATIENT, limits, locking))

  const trying = { toValue: (hold) => hold !== undefined, onLost }
  const tryLock = () => acquire(owner, key, mode, undefined, trying)

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
      core.open(owner.native.releaseLatest(key.high, key.low, key.flags | mode, ticket))
    })

  const withLock = toWithLock(owner, key, mode, (error) => client.tellLoss(error))

  return { lock, unlock, tryLock, withLock }
}

/** In the place of the original's `pg.Client`. */
class Client extends EventEmitter {
  #owner
  #ended
  /** Lost holds by key and mode: how many, and the latest error. */
  #losses = new Map()

  constructor(owner) {
    super()
    this.#owner = owner
  }

  end(callback) {
    this.#ended ??= this.#owner.close().then(() => {
      process.nextTick(() => this.emit('end'))
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
