'use strict'

// Contract 1: one owner per advisoryLock(connectionString), whose holds stack. The public face of index.d.ts.

const { EventEmitter } = require('node:events')
const { Call } = require('./lib/call.js')
const core = require('./lib/client.js')
const { strToKey, toConnectionString, toLocksOptions } = require('./lib/arguments.js')
const { AdvisoryLockError } = require('./lib/errors.js')
const { toUnlockFunction } = require('./lib/hold.js')
const { Locks, toCreateMutex } = require('./lib/mutex.js')
const { Owner } = require('./lib/owner.js')

function advisoryLock(connectionString, options) {
  const owner = new Owner(toConnectionString(connectionString), toLocksOptions(options))
  const client = new Client(owner)
  const createMutex = toCreateMutex(
    (key) => new StackedLocks(owner, client, key, 0),
    () => client.end(),
  )
  createMutex.client = client
  return createMutex
}

/** The locks of one mutex in one mode, whose holds stack. */
class StackedLocks extends Locks {
  #client

  constructor(owner, client, key, mode) {
    super(owner, key, mode)
    this.#client = client
  }

  inSharedMode() {
    return new StackedLocks(this.owner, this.#client, this.key, core.SHARED)
  }

  static toLocked = (_, hold) => toUnlockFunction(hold)

  static toTried = (_, hold) => hold !== undefined

  unlock() {
    const unlocking = new Unlocking(this)
    const ticket = core.newNumber()
    core.expect(ticket, unlocking)
    core.open(this.owner.native.releaseLatest(this.high, this.low, this.how, ticket))
    return unlocking.promise
  }

  release(hold) {
    // Whoever asks for this very hold is told of its loss here, and not again by `unlock()`.
    if (hold.error) this.takeLoss()
    return hold.release()
  }

  onLost(error, isScoped) {
    if (isScoped) this.#client.tellLoss(error)
    else this.#client.noteLoss(this.#name, error)
  }

  /** A loss that no `unlock()` has told yet. */
  takeLoss() {
    return this.#client.takeLoss(this.#name)
  }

  get #name() {
    return `${this.high} ${this.low} ${this.how}`
  }
}

/** An `unlock()` that has not been answered yet. */
class Unlocking extends Call {
  constructor(locks) {
    super()
    this.locks = locks
  }

  settle(kind, request, error) {
    if (kind === core.RELEASED) {
      core.holds.get(request)?.giveUp()
      this.resolve(true)
    } else if (kind === core.NOT_HELD) {
      const loss = this.locks.takeLoss()
      if (loss) this.reject(loss)
      else this.resolve(false)
    } else {
      this.reject(error)
    }
  }
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
