'use strict'

// `createMutex.all` and `createMutex.semaphore`: mutexes that are made of several keys.

const { LocksOfAll } = require('./all.js')
const { strToKey, toKey, toKeys, toPermits } = require('./arguments.js')
const { invalidValue, outOfRange } = require('./errors.js')
const { Locks, Methods, Mutex, shown, toText } = require('./mutex.js')
const { ALONE, SHARED, keyOfPart } = require('./native.js')
const { tryWithLock } = require('./run-holding.js')
const { LocksOfSemaphore } = require('./semaphore.js')
const { isShown, nameOfPart } = require('./semaphore-parts.js')
const { SharedQueue } = require('./shared-queue.js')

/** The locks of one key among several. What becomes of it is told by the hold that it is a part of. */
class PartLocks extends Locks {
  inSharedMode() {
    return new PartLocks(this.owner, this.key, this.flags | SHARED)
  }
}

/** What users get for a semaphore. */
class Semaphore extends Methods {
  constructor(locks) {
    super(locks)
    this.tryWithLock = (fn) => tryWithLock(locks, fn)
    this.holders = () => locks.holders()
  }
}

/**
 * Adds to a `createMutex` what makes mutexes of several keys.
 *
 * @param {import('./owner.js').Owner} owner
 * @param {import('./several.js').Contract} contract
 */
function withSeveral(createMutex, owner, contract) {
  createMutex.all = (names) => {
    const keys = toKeys(names, owner.publishesNames)
    if (keys.length > owner.mostPinned) {
      throw outOfRange('names', `at most ${owner.mostPinned} names through a transaction pooler (maxPinnedConnections)`)
    }
    const parts = keys.map((key) => new PartLocks(owner, key, contract.flags))
    const given = { names: Array.from(names, toText), keys: Array.from(names, (name) => shown(toKey(name))) }
    return new Mutex(new LocksOfAll(owner, contract, parts, given))
  }
  createMutex.semaphore = (name, permits) => {
    if (owner.mostPinned < Infinity) {
      throw invalidValue(
        'a semaphore does not go with transactionPooling, as each of its users holds about a dozen locks: it needs a connection past the pooler (directConnectionString)',
      )
    }
    const key = toKey(name)
    const isPublished = owner.publishesNames && typeof name === 'string'
    const toLocks = (part) => {
      const long = nameOfPart(key, part)
      const [high, low] = isPublished && isShown(part) ? keyOfPart(long, name, part) : strToKey(long)
      return new PartLocks(owner, { high, low, flags: 0 }, contract.flags | ALONE)
    }
    const count = toPermits(permits)
    const queue = new SharedQueue(owner.several.queues, [key.high, key.low, key.flags, count, isPublished].join(' '), count, toLocks)
    return new Semaphore(new LocksOfSemaphore(owner, contract, queue, { name: toText(name), key: shown(key) }))
  }
  return createMutex
}

module.exports = { withSeveral }
