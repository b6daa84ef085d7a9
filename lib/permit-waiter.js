'use strict'

const { Limit } = require('./limit.js')

/** A call that waits for a permit. */
class Waiter {
  /** Is told of the end of its time or of its signal, and says why it is to reject. @type {(reason: unknown) => unknown} */
  onEnd
  #toHold
  #resolve

  /** @param {import('./several.js').TimeLeft} left @param {import('./permit-queue.js').ToHold} toHold */
  constructor(left, toHold) {
    const limits = left.limits()
    this.#toHold = toHold
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.reject = reject
    })
    if (!limits) return
    this.limit = new Limit(limits)
    this.limit.onEnd = (reason) => this.reject(this.onEnd(reason))
  }

  /** @param {import('./permit.js').Permit} permit */
  grant(permit) {
    this.#resolve(this.#toHold(permit))
  }
}

module.exports = { Waiter }
