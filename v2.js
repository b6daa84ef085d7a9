'use strict'

// Contract 2: each lock, tryLock and withLock an owner of its own. The public face of v2.d.ts.

const core = require('./lib/client.js')
const { strToKey, toConnectionString, toLocksOptions } = require('./lib/arguments.js')
const { AdvisoryLockError } = require('./lib/errors.js')
const { toUnlockFunction } = require('./lib/hold.js')
const { Locks, toCreateMutex } = require('./lib/mutex.js')
const { Owner } = require('./lib/owner.js')
const { LatestHolds } = require('./lib/latest-holds.js')

/** Its callers expect that a connection ends with the last lock: no connection is left after a second. */
const IDLE_TIMEOUT = 500

function advisoryLock(connectionString, options) {
  const owner = new Owner(toConnectionString(connectionString), toLocksOptions(options, { idleTimeout: IDLE_TIMEOUT }))
  return toCreateMutex(
    (key) => new SeparateLocks(owner, key, core.ALONE | core.KEEP_ALIVE),
    () => owner.close(),
  )
}

/** The locks of one mutex in one mode, each of them an owner's only one. */
class SeparateLocks extends Locks {
  #taken = new LatestHolds()
  #scoped = new LatestHolds()

  inSharedMode() {
    return new SeparateLocks(this.owner, this.key, this.how | core.SHARED)
  }

  static toLocked = (locks, hold) => {
    locks.#taken.add(hold)
    return toUnlockFunction(hold)
  }

  static toTried = (locks, hold) => hold && SeparateLocks.toLocked(locks, hold)

  async release(hold) {
    await hold.release()
  }

  onScoped(hold) {
    this.#scoped.add(hold)
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
