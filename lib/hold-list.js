'use strict'

/**
 * The holds of one owner, by links in the holds themselves: to add one and to take one out costs the same however many there are,
 * and so little that a lock does not notice.
 */
class HoldList {
  /** @type {import('./hold.js').Hold | undefined} */
  #latest

  add(hold) {
    hold.older = this.#latest
    if (this.#latest) this.#latest.newer = hold
    this.#latest = hold
  }

  /** Takes one out, if it is there. */
  delete(hold) {
    const { older, newer } = hold
    if (newer) newer.older = older
    else if (this.#latest === hold) this.#latest = older
    else return
    if (older) older.newer = newer
    hold.older = undefined
    hold.newer = undefined
  }

  /** Latest first; each may be taken out when it has come. */
  *[Symbol.iterator]() {
    for (let hold = this.#latest; hold; ) {
      const { older } = hold
      yield hold
      hold = older
    }
  }
}

module.exports = { HoldList }
