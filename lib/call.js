'use strict'

/** What settles the promise that was made last: an executor of its own for each would cost more than a lock does. */
let resolveLatest
let rejectLatest
const keepFunctions = (resolve, reject) => {
  resolveLatest = resolve
  rejectLatest = reject
}

/**
 * A call that is answered later: a promise with its functions. Each kind keeps its owner or what belongs to it, as an owner is
 * closed when nothing keeps it.
 */
class Call {
  promise = new Promise(keepFunctions)
  resolve = resolveLatest
  reject = rejectLatest
}

module.exports = { Call }
