'use strict'

const { isOurs } = require('./errors.js')
const { giveBack, takePart, tryPart } = require('./several.js')

/** So many milliseconds others are waited for: they have a few round trips to do, or have been stopped in the middle of them. */
const LONGEST = 1000

/**
 * Does some work while nobody else does such work, over all processes. That is a courtesy, so that others see nothing half-done;
 * nothing may depend on it, as whoever is stopped in its turn is not waited for for long.
 *
 * @template T
 * @param {import('./mutex.js').Locks} turn
 * @param {import('./several.js').TimeLeft} left
 * @param {() => Promise<T>} work
 */
async function inTurn(turn, left, work) {
  const hold = (await tryPart(turn, left.limits())) ?? (await takeSoon(turn, left))
  try {
    return await work()
  } finally {
    if (hold) giveBack([hold])
  }
}

async function takeSoon(turn, left) {
  try {
    return await takePart(turn, { timeout: LONGEST, signal: left.signal })
  } catch (error) {
    if (isOurs(error, 'ERR_LOCK_TIMEOUT')) return undefined
    throw error
  }
}

module.exports = { inTurn }
