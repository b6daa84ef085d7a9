'use strict'

const { collect, giveBack, giveBackFully, takePart, tryPart } = require('./several.js')
const { partOfSlot } = require('./semaphore-parts.js')

/** So many slots are tried at once, then more, until one is free: the first mostly is where permits come and go. */
const TRIED_AT_ONCE = [1, 15, 240, Infinity]

/** The slots of a semaphore: keys of which each permit holds one. */
class Slots {
  #permits
  #toLocks
  #locks = []
  /** The slot to try first: permits mostly come back in the order in which they were taken. */
  #next

  /** @param {number} permits @param {(part: string) => import('./mutex.js').Locks} toLocks */
  constructor(permits, toLocks) {
    this.#permits = permits
    this.#toLocks = toLocks
    this.#next = Math.floor(Math.random() * permits)
  }

  /** Those that have been asked for so far. */
  get known() {
    return this.#locks.filter(Boolean)
  }

  /**
   * Takes a slot that is free, if there is one.
   *
   * @param {{ timeout: number, signal?: AbortSignal } | undefined} limits
   * @param {Promise<unknown>} [goesOn] whether more than the first is tried
   */
  async tryOne(limits, goesOn) {
    const first = this.#next
    let done = 0
    for (const count of TRIED_AT_ONCE) {
      const tried = this.#numbersFrom(first + done, Math.min(count, this.#permits - done))
      if (tried.length === 0) return undefined
      done += tried.length
      const { holds, denied } = await collect(tried.map((number) => tryPart(this.#slot(number), limits)))
      if (holds.length > 0) {
        // While nobody else looks.
        await giveBackFully(holds.slice(1))
        this.#next = (tried.find((_, place) => !denied.includes(place)) + 1) % this.#permits
        return holds[0]
      }
      if (goesOn && !(await goesOn)) return undefined
    }
    return undefined
  }

  /** Waits for whichever is free first. @param {import('./several.js').TimeLeft} left */
  async waitForOne(left) {
    const over = new AbortController()
    const abort = () => over.abort(left.signal.reason)
    left.signal.addEventListener('abort', abort)
    const limits = { timeout: Infinity, signal: over.signal }
    const waits = this.#numbersFrom(0, this.#permits).map((number) => takePart(this.#slot(number), limits))
    try {
      const slot = await Promise.any(waits)
      for (const wait of waits) wait.then((hold) => hold === slot || giveBack([hold]), () => {})
      return slot
    } catch ({ errors: [first] }) {
      throw first
    } finally {
      left.signal.removeEventListener('abort', abort)
      over.abort()
    }
  }

  /** Who holds one. */
  async holders() {
    const found = await Promise.all(this.#numbersFrom(0, this.#permits).map((number) => this.#slot(number).holders()))
    return found.flatMap((holders, slot) => holders.filter(({ granted }) => granted).map((holder) => ({ ...holder, slot })))
  }

  #numbersFrom(first, count) {
    return Array.from({ length: count }, (_, index) => (first + index) % this.#permits)
  }

  #slot(number) {
    return (this.#locks[number] ??= this.#toLocks(partOfSlot(number)))
  }
}

module.exports = { Slots }
