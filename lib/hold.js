'use strict'

const { Call } = require('./call.js')
const core = require('./client.js')
const native = require('./native.js')

/** A release that the server has not confirmed yet. */
class Releasing extends Call {
  settle(kind, _, error) {
    if (kind === core.RELEASE_FAILED) this.reject(error)
    else this.resolve(true)
  }
}

/** One granted acquire, from its grant until it is given up or lost. */
class Hold {
  /** Is told of the loss as well, by whoever runs something under the hold. */
  whileHeld
  #error
  #controller
  #released
  #gone = false

  /**
   * @param {import('./mutex.js').Locks} locks among which it is one
   * @param {number} request the number of the acquire
   * @param {number} how its flags; with KEEP_ALIVE the process stays alive as long as it is held
   */
  constructor(locks, request, how) {
    this.locks = locks
    this.request = request
    this.how = how
    core.holds.set(request, this)
    if (how & core.KEEP_ALIVE) core.keepAlive()
  }

  get owner() {
    return this.locks.owner
  }

  /** Fires when the hold is lost. Made when first asked for: most callers never do. */
  get signal() {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#error) this.#controller.abort(this.#error)
    }
    return this.#controller.signal
  }

  /** Gives the hold up: resolves to whether that was still to do, rejects if it was lost before. Always the same promise. */
  release() {
    this.#released ??= this.#release()
    return this.#released
  }

  #release() {
    if (this.#error) return Promise.reject(this.#error)
    if (this.#gone) return Promise.resolve(false)
    const ticket = core.newNumber()
    const reply = native.release(this.locks.owner.number, this.request, ticket)
    // Everything is in place before the mail is opened: it may tell of this hold.
    const releasing = (reply & (core.YES | core.NO)) === core.PENDING ? new Releasing() : undefined
    if (releasing) core.expect(ticket, releasing)
    if (releasing || reply & core.YES) this.giveUp()
    core.open(reply)
    if (releasing) return releasing.promise
    if (this.#gone) return Promise.resolve(true)
    return this.#findOut()
  }

  /** The core knows no such hold: the news of its loss is under way, or the owner has been closed. */
  #findOut() {
    core.deliver()
    if (this.#error) return Promise.reject(this.#error)
    this.giveUp()
    return Promise.resolve(false)
  }

  /** The hold was given up: here, by `unlock()`, or with its owner. */
  giveUp() {
    this.#gone = true
    core.holds.delete(this.request)
    this.#letGo()
  }

  /** The hold was lost with its session. */
  lose(error) {
    this.#error = error
    this.#letGo()
    this.#controller?.abort(error)
    this.locks.onLost(error, (this.how & core.SCOPED) !== 0)
    this.whileHeld?.(error)
  }

  #letGo() {
    if (!(this.how & core.KEEP_ALIVE)) return
    this.how &= ~core.KEEP_ALIVE
    core.letGo()
  }

  /** Whether its end has been asked for or has come: nothing of it is left to be told. */
  get isOver() {
    return this.#gone || this.#released !== undefined
  }

  get error() {
    return this.#error
  }
}

/** What unlock functions have besides being functions. One for all, as making properties on each would cost more than the lock. */
const unlockFunction = Object.create(Function.prototype)

/** Puts a private field on a function that exists already: a tenth of the price of an entry in a `WeakMap`. */
class HeldBy extends (class {
  constructor(unlock) {
    return unlock
  }
}) {
  #hold

  constructor(unlock, hold) {
    super(unlock)
    this.#hold = hold
  }

  static hold(unlock) {
    return unlock.#hold
  }
}
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')
Object.defineProperties(unlockFunction, {
  signal: {
    get() {
      return HeldBy.hold(this).signal
    },
    enumerable: true,
  },
  [asyncDispose]: {
    async value() {
      await this()
    },
  },
})

/** The function that releases `hold` as its contract has it. */
function toUnlockFunction(hold) {
  const unlock = () => hold.locks.release(hold)
  Object.setPrototypeOf(unlock, unlockFunction)
  new HeldBy(unlock, hold)
  return unlock
}

module.exports = { Hold, asyncDispose, toUnlockFunction }
