'use strict'

// What the mutexes of both contracts have in common.

const { acquire, acquireUntraced } = require('./acquire.js')
const { toAcquireOptions, toElectionOptions, toFunction, toKey } = require('./arguments.js')
const { traceTaking } = require('./diagnostics.js')
const { Election } = require('./election.js')
const { clientClosed } = require('./errors.js')
const { checkFencing, takeFenced } = require('./fencing.js')
const { ALONE, PATIENT, SCOPED, SHARED, SINGLE } = require('./native.js')
const { tryWithLock, withLock } = require('./run-holding.js')
const { statsOf } = require('./stats.js')
const { asyncDispose } = require('./unlock-function.js')

/**
 * The `createMutex` of one owner.
 *
 * @param {import('./owner.js').Owner} owner
 * @param {(key: Key) => Locks} toLocks in exclusive mode
 * @param {() => Promise<void>} close
 */
function toCreateMutex(owner, toLocks, close) {
  const createMutex = (name) => {
    const key = toKey(name, owner.publishesNames)
    key.name = toText(name)
    return new Mutex(toLocks(key))
  }
  createMutex.stats = () => statsOf(owner)
  createMutex.close = close
  createMutex[asyncDispose] = close
  return createMutex
}

/**
 * @typedef {object} Key
 * @property {number} high one half
 * @property {number} low the other
 * @property {number} flags SINGLE where they are of one number
 * @property {string | null} [name] its name; `null` where it was given itself, and none where it is a part of a lock of several keys
 */

/** The methods for one mode, which need no `this`. */
class Methods {
  constructor(locks) {
    this.lock = (options) => locks.lock(options)
    this.unlock = () => locks.unlock()
    this.tryLock = () => locks.tryLock()
    this.withLock = (fn, options) => withLock(locks, fn, options)
  }
}

/**
 * What users get for a name. The methods of the original are its own; the others are made when they are asked for, as ten
 * thousand names have ten thousand mutexes.
 */
class Mutex extends Methods {
  #locks
  #others

  /** @param {Locks} locks */
  constructor(locks) {
    super(locks)
    this.#locks = locks
  }

  // No private method, for which each mutex would have a mark.
  static #othersOf(mutex) {
    return (mutex.#others ??= new Others(mutex.#locks))
  }

  get lockShared() {
    return Mutex.#othersOf(this).shared.lock
  }

  get unlockShared() {
    return Mutex.#othersOf(this).shared.unlock
  }

  get tryLockShared() {
    return Mutex.#othersOf(this).shared.tryLock
  }

  get withLockShared() {
    return Mutex.#othersOf(this).shared.withLock
  }

  get tryWithLock() {
    return Mutex.#othersOf(this).tryWithLock
  }

  get tryWithLockShared() {
    return Mutex.#othersOf(this).tryWithLockShared
  }

  get elect() {
    return Mutex.#othersOf(this).elect
  }

  get holders() {
    return Mutex.#othersOf(this).holders
  }
}

/** The methods of a mutex that the original has not. */
class Others {
  constructor(locks) {
    const sharedLocks = locks.inSharedMode()
    this.shared = new Methods(sharedLocks)
    this.tryWithLock = (fn) => tryWithLock(locks, fn)
    this.tryWithLockShared = (fn) => tryWithLock(sharedLocks, fn)
    this.elect = (lead, options) => elect(locks, lead, options)
    this.holders = () => locks.holders()
  }
}

/** Stands for election by these locks, as an owner of its own in either contract. */
function elect(locks, lead, options) {
  toFunction('lead', lead)
  const settings = toElectionOptions(options)
  const { owner } = locks
  if (owner.isClosed) throw clientClosed()
  if (settings.fencing) checkFencing(owner)
  const election = new Election(locks.forElection(owner.another()), locks.given, lead, settings)
  owner.addElection(election)
  return election
}

/** The name in a name that may be a key itself. */
const toText = (name) => (typeof name === 'string' ? name : null)

/** A key as users give it. @param {Key} key */
function shown({ high, low, flags }) {
  return flags & SINGLE ? BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low >>> 0)) : [high, low]
}

const toScoped = (locks, hold) => {
  if (hold) locks.onScoped(hold)
  return hold
}

/** Nobody knows yet of this hold: if it is lost, that is told by the call that has taken it. */
const toUntold = (_, hold) => {
  hold.flags |= SCOPED
  return hold
}

function takeFencedAmong(locks, manner, limits, toHold) {
  const take = () => takeFenced(locks.owner, limits, () => acquireUntraced(locks, manner, limits, toHold))
  return traceTaking(locks, limits, take)
}

async function lockFenced(locks, limits) {
  const hold = await takeFencedAmong(locks, PATIENT, limits, toUntold)
  hold.flags &= ~SCOPED
  return locks.constructor.toLocked(locks, hold)
}

/**
 * The locks of one mutex in one mode. What `lock()` and `tryLock()` resolve to, what `unlock()` does, and who is told of a
 * loss is the contract's to say.
 */
class Locks {
  /**
   * @param {import('./owner.js').Owner} owner
   * @param {Key} key
   * @param {number} flags of all acquires, besides the key's
   */
  constructor(owner, key, flags) {
    this.owner = owner
    this.high = key.high
    this.low = key.low
    this.flags = key.flags | flags
    /** As {@link Key} has it. */
    this.name = key.name
  }

  /** @returns {Key} */
  get key() {
    return { high: this.high, low: this.low, flags: this.flags & SINGLE, name: this.name }
  }

  /** What its mutex was made of, for messages. */
  get given() {
    return this.name ?? shown(this.key)
  }

  /** What is told of it to those who trace locks. */
  describe() {
    return { name: this.name, key: shown(this.key), mode: this.flags & SHARED ? 'shared' : 'exclusive' }
  }

  lock(options) {
    // An `async` function would cost as much as a local hand-over.
    try {
      const limits = toAcquireOptions(options)
      if (limits?.fencing) return lockFenced(this, limits)
      return acquire(this, PATIENT, limits, this.constructor.toLocked)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  tryLock() {
    try {
      return acquire(this, 0, undefined, this.constructor.toTried)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Waits for a hold that ends with what is run under it. @returns {Promise<import('./hold.js').Hold>} */
  takeHold(limits) {
    if (limits?.fencing) return takeFencedAmong(this, PATIENT | SCOPED, limits, toScoped)
    return acquire(this, PATIENT | SCOPED, limits, toScoped)
  }

  /** Takes such a hold if that is possible without waiting. */
  tryTakeHold() {
    return acquire(this, SCOPED, undefined, toScoped)
  }

  /** Who holds the lock or waits for it on the server. */
  holders() {
    return this.owner.holders(this.key)
  }

  /** The same lock for an election, of which the owner is. @returns {Locks} */
  forElection(owner) {
    return new ElectionLocks(owner, this)
  }

  /** The same in shared mode. @returns {Locks} @abstract */
  inSharedMode() {}

  /** What `lock()` resolves to. @param {Locks} locks @param {import('./hold.js').Hold} hold @abstract */
  static toLocked

  /** What `tryLock()` resolves to; no hold: the lock is taken. @param {Locks} locks @param {import('./hold.js').Hold} [hold] @abstract */
  static toTried

  /** What an unlock function does. @param {import('./hold.js').Hold} hold */
  release(hold) {
    return hold.release()
  }

  /** Is told of the hold of a `withLock()` or `tryWithLock()`. */
  onScoped() {}

  /**
   * Is told of a hold that is lost, and whether whoever had it hears of it without asking: by `withLock()`, or as it has been given up.
   *
   * @param {import('./hold.js').Hold} _hold
   * @param {boolean} _isTold
   */
  onLost(_hold, _isTold) {}
}

/** The lock of an election, which shares its holds with nobody. */
class ElectionLocks extends Locks {
  #origin

  constructor(owner, origin) {
    super(owner, origin.key, ALONE)
    this.#origin = origin
  }

  onLost(hold) {
    this.#origin.onLost(hold, true)
  }
}

module.exports = { Locks, Methods, Mutex, shown, toCreateMutex, toText }
