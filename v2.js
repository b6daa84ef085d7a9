'use strict'

// Contract 2: each lock, tryLock and withLock an owner of its own. The public face of v2.d.ts.

const core = require('./lib/client.js')
const { acquire } = require('./lib/acquire.js')
const { strToKey, toConnectionString, toLocksOptions } = require('./lib/arguments.js')
const { AdvisoryLockError } = require('./lib/errors.js')
const { toUnlockFunction } = require('./lib/hold.js')
const { toCreateMutex, toLock, toWithLock } = require('./lib/mutex.js')
const { Owner } = require('./lib/owner.js')
const { LatestHolds } = require('./lib/latest-holds.js')

/** Its callers expect that a connection ends with the last lock: no connection is left after a second. */
const IDLE_TIMEOUT = 500

function advisoryLock(connectionString, options) {
  const owner = new Owner(toConnectionString(connectionString), toLocksOptions(options, { idleTimeout: IDLE_TIMEOUT }))
  return toCreateMutex(
    owner,
    (key, mode) => methods(owner, key, mode),
    () => owner.close(),
  )
}

/** The methods for one key and mode. */
function methods(owner, key, mode) {
  const how = mode | core.ALONE | core.KEEP_ALIVE
  const taken = new LatestHolds()
  const scoped = new LatestHolds()

  const toUnlock = (hold) => {
    taken.add(hold)
    return toUnlockFunction(hold, () => settled(hold))
  }

  const locking = { toValue: toUnlock }
  const lock = toLock((limits) => acquire(owner, key, how | core.PATIENT, limits, locking))

  const trying = { toValue: (hold) => hold && toUnlock(hold) }
  const tryLock = () => acquire(owner, key, how, undefined, trying)

  // The hold of a `withLock` only where there is no other, as that one ends by itself.
  const unlock = async () => settled(taken.takeLatest() ?? scoped.takeLatest())

  const withLock = toWithLock(owner, key, how, undefined, (hold) => scoped.add(hold))

  return { lock, unlock, tryLock, withLock }
}

/** Releases a hold; resolves to nothing once it is given up. */
async function settled(hold) {
  await hold?.release()
}

module.exports = advisoryLock
module.exports.default = advisoryLock
module.exports.strToKey = strToKey
module.exports.AdvisoryLockError = AdvisoryLockError
