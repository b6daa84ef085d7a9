'use strict'

// Contract 1: one owner per advisoryLock(connectionString), whose holds stack. The public face of index.d.ts.

const { EventEmitter } = require('node:events')
const { strToKey, toLocksOptions } = require('./lib/arguments.js')
const { Call } = require('./lib/call.js')
const { toConnection } = require('./lib/connection.js')
const { AdvisoryLockError } = require('./lib/errors.js')
const { Losses } = require('./lib/losses.js')
const mailbox = require('./lib/mailbox.js')
const { Locks, toCreateMutex } = require('./lib/mutex.js')
const { NOT_HELD, RELEASED, RELEASE_FAILED, SHARED } = require('./lib/native.js')
const { Owner } = require('./lib/owner.js')
const { withSeveral } = require('./lib/several-mutex.js')
const { soon } = require('./lib/soon.js')
const { toUnlockFunction } = require('./lib/unlock-function.js')

function advisoryLock(connectionString, options) {
  const owner = Owner.of(toConnection(connectionString), toLocksOptions(options))
  const client = new Client(owner)
  const losses = new Losses((error) => client.tellLoss(error))
  const createMutex = toCreateMutex(
    owner,
    (key) => new StackedLocks(owner, losses, key, 0),
    () => client.end(),
  )
  createMutex.client = client
  return withSeveral(createMutex, owner, contractOfSeveral(client))
}

/** How holds of several keys look to callers of this contract. */
function contractOfSeveral(client) {
  return {
    flags: 0,
    toLocked: toUnlockFunction,
    toTried: (hold) => hold !== undefined,
    unlock: async (hold) => (hold ? hold.release() : false),
    release: (hold) => hold.release(),
    onLost: (error) => client.tellLoss(error),
  }
}

/** The locks of one mutex in one mode, whose holds stack. */
class StackedLocks extends Locks {
  #losses

  constructor(owner, losses, key, mode) {
    super(owner, key, mode)
    this.#losses = losses
  }

  inSharedMode() {
    return new StackedLocks(this.owner, this.#losses, this.key, SHARED)
  }

  static toLocked = (locks, hold) => {
    StackedLocks.#forgetLosses(locks)
    return toUnlockFunction(hold)
  }

  static toTried = (locks, hold) => {
    if (hold) StackedLocks.#forgetLosses(locks)
    return hold !== undefined
  }

  unlock() {
    try {
      return unlockLatest(this)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  onLost(hold, isTold) {
    if (!isTold) this.#losses.add(lossName(this), hold)
    this.#losses.tell(hold.error)
  }

  /** The latest hold that was lost and of which nobody has been told. */
  takeLost() {
    return this.#losses.take(lossName(this))
  }

  // No private method, for which each object would have a mark.
  static #forgetLosses(locks) {
    if (!locks.#losses.isEmpty) locks.#losses.clear(lossName(locks))
  }
}

/** By which its losses are kept among those of its owner. */
const lossName = ({ high, low, flags }) => `${high} ${low} ${flags}`

function unlockLatest(locks) {
  const { owner, high, low, flags } = locks
  if (owner.number === 0) owner.open()
  const ticket = mailbox.newNumber()
  const reply = owner.native.releaseLatest(high, low, flags, ticket)
  const unlocking = new Unlocking(locks)
  mailbox.expect(ticket, unlocking)
  mailbox.open(reply)
  return unlocking.promise
}

/** An `unlock()` that has not been answered yet. */
class Unlocking extends Call {
  constructor(locks) {
    super()
    this.locks = locks
  }

  settle(kind, request, error) {
    if (kind === RELEASED) {
      mailbox.holds.get(request)?.markReleased()
      this.resolve(true)
    } else if (kind === NOT_HELD) {
      this.resolve(this.locks.takeLost()?.release() ?? false)
    } else {
      if (kind === RELEASE_FAILED) mailbox.holds.get(request)?.lose(error, true)
      this.reject(error)
    }
  }
}

/** In the place of the original's `pg.Client`. */
class Client extends EventEmitter {
  #owner
  #ended

  constructor(owner) {
    super()
    this.#owner = owner
  }

  end(callback) {
    this.#ended ??= this.#owner.close().then(() => soon(() => this.emit('end')))
    if (typeof callback === 'function') this.#ended.then(() => soon(() => callback()))
    return this.#ended
  }

  /** Tells those who listen; an `error` event without a listener would crash the process. */
  tellLoss(error) {
    soon(() => {
      if (this.listenerCount('error') > 0) this.emit('error', error)
    })
  }
}

module.exports = advisoryLock
module.exports.default = advisoryLock
module.exports.strToKey = strToKey
module.exports.AdvisoryLockError = AdvisoryLockError
