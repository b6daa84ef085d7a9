'use strict'

/**
 * Holds that are to have a fence and have none yet. Whoever has asked for them still waits: they are not granted as a whole.
 *
 * The value is the moment of the call by `performance.now()`, or `undefined` where the call does not wait.
 *
 * @type {Map<import('./hold.js').Hold | import('./several.js').HoldOfSeveral, number | undefined>}
 */
const unfencedHolds = new Map()

module.exports = { unfencedHolds }
