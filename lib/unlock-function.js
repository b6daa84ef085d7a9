'use strict'

const { fencingOf } = require('./fencing.js')

const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')

/** What nobody else can call an unlock function with. */
const REVEAL = Symbol('reveal')

/** The hold of an unlock function, which knows it by its closure alone: a field on a function takes more room than a closure. */
const holdOf = (unlock) => unlock(REVEAL)

/** What unlock functions have besides being functions. One for all, as making properties on each would cost more than the lock. */
const unlockFunction = Object.create(Function.prototype, {
  signal: {
    __proto__: null,
    get() {
      return holdOf(this).signal
    },
    enumerable: true,
  },
  verify: {
    __proto__: null,
    get() {
      const hold = holdOf(this)
      return async () => new Date(await hold.verify())
    },
    enumerable: true,
  },
  token: {
    __proto__: null,
    get() {
      return fencingOf(holdOf(this))?.token
    },
    enumerable: true,
  },
  fence: {
    __proto__: null,
    get() {
      return fencingOf(holdOf(this))?.fence
    },
    enumerable: true,
  },
  [asyncDispose]: {
    __proto__: null,
    async value() {
      await this()
    },
  },
})

/** The function that releases `hold` as its contract has it. */
function toUnlockFunction(hold) {
  // It has no parameter as far as `length` tells.
  const unlock = (wish = undefined) => (wish === REVEAL ? hold : hold.locks.release(hold))
  Object.setPrototypeOf(unlock, unlockFunction)
  return unlock
}

module.exports = { asyncDispose, toUnlockFunction }
