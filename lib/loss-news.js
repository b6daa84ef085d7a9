'use strict'

const { tellLost } = require('./diagnostics.js')
const mailbox = require('./mailbox.js')
const { unfencedHolds } = require('./unfenced-holds.js')

/**
 * Tells callers' code of a lost hold: those who subscribe, where it was granted as a whole, and its signal.
 *
 * @param {import('./hold.js').Hold | import('./several.js').HoldOfSeveral} hold
 * @param {Error} error
 * @param {() => void} abort aborts its signal, if anybody has asked for that by then
 */
function tellOfLoss(hold, error, abort) {
  const isGranted = !unfencedHolds.has(hold)
  mailbox.tell(() => {
    if (isGranted) tellLost(hold.locks, error)
    abort()
  })
}

module.exports = { tellOfLoss }
