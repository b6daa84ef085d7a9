'use strict'

/** What settles the promise that was made last: an executor of its own for each would cost more than a lock does. */
let resolveLatest
let rejectLatest
const keepFunctions = (resolve, reject) => {
  resolveLatest = resolve
  rejectLatest = reject
}

/** A call that is answered later: a promise with its functions. It keeps its owner, which would be closed if nothing did. */
class Call {
  promise = new Promise(keepFunctions)
  resolve = resolveLatest
  reject = rejectLatest

  /** @param {import('./owner.js').Owner} owner */
  constructor(owner) {
    this.owner = owner
  }
}

module.exports = { Call }
