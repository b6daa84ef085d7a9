'use strict'

/** How long to stand back: longer after each failure, by chance, so that those who failed together do not come back together. */
class Backoff {
  #min
  #max
  #last

  /** @param {{ min: number, max: number }} limits in milliseconds */
  constructor({ min, max }) {
    this.#min = min
    this.#max = max
    this.#last = min
  }

  get min() {
    return this.#min
  }

  /** The next pause, in milliseconds. */
  next() {
    const most = Math.min(this.#max, 3 * this.#last)
    this.#last = this.#min + Math.random() * (most - this.#min)
    return this.#last
  }

  /** What has been tried so long has not failed at once: a failure is the first one again. */
  succeeded(milliseconds) {
    if (milliseconds > this.#last) this.#last = this.#min
  }
}

module.exports = { Backoff }
