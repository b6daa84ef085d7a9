'use strict'

const { Limit } = require('./limit.js')

/**
 * Resolves after so many milliseconds, or as soon as the signal is aborted. Keeps the process alive.
 *
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 */
async function pause(milliseconds, signal) {
  if (milliseconds <= 0) return
  const limit = new Limit({ timeout: milliseconds, signal })
  if (!limit.ended) await new Promise((resolve) => (limit.onEnd = resolve))
}

module.exports = { pause }
