'use strict'

/** Most losses that are kept, for all names together. */
const MOST = 10_000

/**
 * Lost holds of one owner, by the name of key and mode: an `unlock()` that finds nothing to release is told of the latest of
 * which nobody has been told. Whoever gives a lost hold up by its own function is told by that.
 */
class Losses {
  /** @type {Map<string, import('./hold.js').Hold[]>} */
  #byName = new Map()
  #count = 0

  /** @param {(error: Error) => void} tell tells whoever listens of a loss */
  constructor(tell) {
    this.tell = tell
  }

  get isEmpty() {
    return this.#count === 0
  }

  add(name, hold) {
    const known = this.#byName.get(name)
    if (known) known.push(hold)
    else this.#byName.set(name, [hold])
    // The oldest go.
    if (++this.#count > MOST) this.clear(this.#byName.keys().next().value)
  }

  /** Takes out the latest of which nobody has been told. */
  take(name) {
    const holds = this.#byName.get(name) ?? []
    while (holds.length > 0) {
      const hold = holds.pop()
      this.#count--
      if (holds.length === 0) this.#byName.delete(name)
      if (!hold.isOver) return hold
    }
    return undefined
  }

  /** Forgets those of a name: its lock has been granted anew, and an `unlock()` means that hold. */
  clear(name) {
    this.#count -= this.#byName.get(name)?.length ?? 0
    this.#byName.delete(name)
  }
}

module.exports = { Losses }
