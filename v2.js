'use strict'

// Contract 2: each lock, tryLock and withLock an owner of its own. The public face of v2.d.ts.

const { strToKey, toLocksOptions } = require('./lib/arguments.js')
const { toConnection } = require('./lib/connection.js')
const { AdvisoryLockError } = require('./lib/errors.js')
const { LatestHolds } = require('./lib/latest-holds.js')
const { Locks, toCreateMutex } = require('./lib/mutex.js')
const { ALONE, KEEP_ALIVE, SHARED } = require('./lib/native.js')
const { Owner } = require('./lib/owner.js')
const { withSeveral } = require('./lib/several-mutex.js')
const { toUnlockFunction } = require('./lib/unlock-function.js')

/** Its callers expect that a connection ends with the last lock: no connection is left after a second. */
const IDLE_TIMEOUT = 500
/** Each acquire is an owner of its own, and what it holds keeps the process alive. */
const SEPARATE = ALONE | KEEP_ALIVE

function advisoryLock(connectionString, options) {
  const owner = Owner.of(toConnection(connectionString), toLocksOptions(options, { idleTimeout: IDLE_TIMEOUT }))
  const createMutex = toCreateMutex(
    owner,
    (key) => new SeparateLocks(owner, key, SEPARATE),
    () => owner.close(),
  )
  return withSeveral(createMutex, owner, contractOfSeveral)
}

/** How holds of several keys look to callers of this contract. */
const contractOfSeveral = {
  flags: SEPARATE,
  toLocked: toUnlockFunction,
  toTried: (hold) => hold && toUnlockFunction(hold),
  async unlock(hold) {
    await hold?.release()
  },
  async release(hold) {
    await hold.release()
  },
  onLost() {},
}

/** The locks of one mutex in one mode, each of them an owner's only one. */
class SeparateLocks extends Locks {
  #taken = new LatestHolds()
  #scoped = new LatestHolds()
  #hasLost = false

  inSharedMode() {
    return new SeparateLocks(this.owner, this.key, this.flags | SHARED)
  }

  static toLocked = (locks, hold) => {
    locks.#take(hold)
    return toUnlockFunction(hold)
  }

  static toTried = (locks, hold) => hold && SeparateLocks.toLocked(locks, hold)

  #take(hold) {
    // From now on `unlock()` means this hold, and not one that was lost before.
    if (this.#hasLost) this.#taken.dropLost()
    this.#hasLost = false
    this.#taken.add(hold)
  }

  async release(hold) {
    await hold.release()
  }

  onScoped(hold) {
    this.#scoped.add(hold)
  }

  onLost(_hold, isTold) {
    if (!isTold) this.#hasLost = true
  }

  /** The hold of a `withLock` only where there is no other, as that one ends by itself. */
  async unlock() {
    const latest = this.#taken.takeLatest() ?? this.#scoped.takeLatest()
    await latest?.release()
  }
}

module.exports = advisoryLock
module.exports.default = advisoryLock
module.exports.strToKey = strToKey
module.exports.AdvisoryLockError = AdvisoryLockError
