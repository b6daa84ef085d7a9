'use strict'

// A semaphore is made of parts, each of them a key of its own: its slots, its gate, its turn, and what tells the number of its
// permits.

/**
 * The name whose key is that of a part.
 *
 * @param {{ high: number, low: number, flags: number }} key of the semaphore's name, which may be anybody's and need not be a string
 * @param {string} part
 */
const nameOfPart = ({ high, low, flags }, part) => `advisory-lock-native semaphore ${flags} ${high} ${low} ${part}`

/** Held by the search that is first in line, until it has a slot. */
const GATE = 'gate'
/** Held for a few round trips by whoever begins to tell the number of permits, or looks which slots are free. */
const TURN = 'turn'
const partOfSlot = (number) => `slot ${number}`
const partOfDigit = (place, value) => `digit ${place} is ${value}`

/** Whether the part is worth telling those who look at the database: who has a permit, and who looks for one. */
const isShown = (part) => part !== TURN && !part.startsWith('digit')

module.exports = { GATE, TURN, isShown, nameOfPart, partOfDigit, partOfSlot }
