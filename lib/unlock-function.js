'use strict'

const { fencingOf } = require('./fencing.js')

const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')

/** Puts a private field on a function that exists already: a tenth of the price of an entry in a `WeakMap`. */
class HoldOf extends (class {
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

/** What unlock functions have besides being functions. One for all, as making properties on each would cost more than the lock. */
const unlockFunction = Object.create(Function.prototype, {
  signal: {
    get() {
      return HoldOf.hold(this).signal
    },
    enumerable: true,
  },
  verify: {
    get() {
      const hold = HoldOf.hold(this)
      return async () => new Date(await hold.verify())
    },
    enumerable: true,
  },
  token: {
    get() {
      return fencingOf(HoldOf.hold(this))?.token
    },
    enumerable: true,
  },
  fence: {
    get() {
      return fencingOf(HoldOf.hold(this))?.fence
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
  new HoldOf(unlock, hold)
  return unlock
}

module.exports = { asyncDispose, toUnlockFunction }
