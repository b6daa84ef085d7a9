'use strict'

// What keys are called: by names that are given, and by those that sessions say they hold. Whoever says a wrong name is not
// believed: only its own key is called so.

const { strToKey } = require('../arguments.js')
const { GATE, TURN, nameOfPart, partOfDigit, partOfSlot } = require('../semaphore-parts.js')

const DIGITS = 10
const MOST_PERMITS = 1000

const ofPair = ([high, low]) => `${high} ${low}`
const idOf = ({ high, low, single }) => (single ? `${high} ${low} single` : ofPair([high, low]))

/**
 * @typedef {object} Called
 * @property {string} name
 * @property {string} [part] of the semaphore of that name
 */

class KeyNames {
  /** @type {Map<string, Called>} */
  #byKey = new Map()

  /** @param {string[]} names of locks or of semaphores */
  constructor(names) {
    for (const name of names) {
      this.#learn(name)
      this.#learnParts(name, Array.from({ length: MOST_PERMITS }, (_, number) => partOfSlot(number)))
    }
  }

  /** Learns what a session says. @param {Called} said */
  learn({ name, part }) {
    if (part === undefined) this.#learn(name)
    else this.#learnParts(name, [part])
  }

  /** What the key of this use is called, if that is known. @returns {Called | undefined} */
  find(use) {
    return this.#byKey.get(idOf(use))
  }

  /** Forgets the names of keys that nobody uses. @param {object[]} uses */
  keepOnly(uses) {
    const used = new Set(uses.map(idOf))
    for (const id of this.#byKey.keys()) if (!used.has(id)) this.#byKey.delete(id)
  }

  #learn(name) {
    this.#byKey.set(ofPair(strToKey(name)), { name })
  }

  #learnParts(name, parts) {
    const [high, low] = strToKey(name)
    const digits = Array.from({ length: DIGITS }, (_, place) => [partOfDigit(place, 0), partOfDigit(place, 1)]).flat()
    for (const part of [...parts, GATE, TURN, ...digits]) {
      this.#byKey.set(ofPair(strToKey(nameOfPart({ high, low, flags: 0 }, part))), { name, part })
    }
  }
}

module.exports = { KeyNames }
