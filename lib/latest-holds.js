'use strict'

/** The holds taken through one mutex, latest last. Those that are over are forgotten by and by. */
class LatestHolds {
  #holds = []
  #room = 16

  add(hold) {
    if (this.#holds.length >= this.#room) {
      this.#holds = this.#holds.filter((one) => !one.isOver)
      this.#room = Math.max(16, 2 * this.#holds.length)
    }
    this.#holds.push(hold)
  }

  /** Takes out the latest hold that is not over yet. */
  takeLatest() {
    for (;;) {
      const hold = this.#holds.pop()
      if (!hold?.isOver) return hold
    }
  }

  /** Forgets those that are lost. */
  dropLost() {
    this.#holds = this.#holds.filter((one) => !one.error)
  }
}

module.exports = { LatestHolds }
