'use strict'

const { another } = require('./errors.js')
const { giveBack } = require('./several.js')

/** The locks that spell a semaphore's number of permits: worth something together only, and what permits depend on. */
class ToldNumber {
  #holds
  #onLost
  #error
  #isOver = false
  /** @type {Set<import('./permit.js').Slot>} */
  #slots = new Set()

  /** @param {import('./hold.js').Hold[]} holds @param {() => void} onLost */
  constructor(holds, onLost) {
    this.#holds = holds
    this.#onLost = onLost
    for (const hold of holds) {
      hold.whileHeld = () => this.#lose(hold.error)
      // Between its grant and now.
      if (hold.error) this.#lose(hold.error)
    }
  }

  /** Why it is not told any more: the loss of a session that told a part of it. */
  get error() {
    return this.#error
  }

  /** The slot is lost with it. */
  addSlot(slot) {
    this.#slots.add(slot)
  }

  removeSlot(slot) {
    this.#slots.delete(slot)
  }

  /** As {@link import('./hold.js').Hold.verify}. */
  async verify() {
    if (this.#error) throw another(this.#error)
    const times = await Promise.all(this.#holds.map((hold) => hold.verify()))
    return Math.min(...times)
  }

  giveBack() {
    this.#isOver = true
    giveBack(this.#holds)
  }

  #lose(error) {
    if (this.#isOver) return
    this.#error = error
    this.giveBack()
    this.#onLost()
    for (const slot of [...this.#slots]) slot.lose(another(error))
  }
}

module.exports = { ToldNumber }
