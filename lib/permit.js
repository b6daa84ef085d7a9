'use strict'

const { notHeld } = require('./errors.js')

/** How long, in milliseconds, a slot is handed on here before others get their turn. */
const TENURE = 20

/** A slot that is held on the server, whoever here has its permit. It is lost with what tells the number of permits for it. */
class Slot {
  /** Is told of the loss. @type {(() => void) | undefined} */
  onLost
  #hold
  #told
  #queue
  #error
  #ended
  #since = performance.now()

  /**
   * @param {import('./hold.js').Hold} hold
   * @param {import('./told-number.js').ToldNumber} told
   * @param {import('./permit-queue.js').PermitQueue} queue which is told of its end
   */
  constructor(hold, told, queue) {
    this.#hold = hold
    this.#told = told
    this.#queue = queue
    told.addSlot(this)
    hold.whileHeld = () => this.lose(hold.error)
    // Between its grant and now.
    const error = hold.error ?? told.error
    if (error) this.lose(error)
  }

  get error() {
    return this.#error
  }

  get isOverdue() {
    return performance.now() - this.#since >= TENURE
  }

  look() {
    this.#hold.look()
  }

  async verify() {
    const times = await Promise.all([this.#hold.verify(), this.#told.verify()])
    return Math.min(...times)
  }

  lose(error) {
    if (this.#error || this.#ended) return
    this.#error = error
    void this.end()
    this.onLost?.()
  }

  /** Gives it back on the server. */
  end() {
    if (!this.#ended) {
      this.#ended = this.#hold.release()
      this.#ended.catch(() => {})
      this.#told.removeSlot(this)
      this.#queue.onSlotEnded()
    }
    return this.#ended
  }

  /** A caller does not need it any more. */
  handBack() {
    return this.#queue.pass(this)
  }
}

/** The turn of one caller with a slot: what a hold is made of. */
class Permit {
  /** Is told of the loss. @type {(() => void) | undefined} */
  whileHeld
  #slot
  #released

  constructor(slot) {
    this.#slot = slot
    slot.onLost = () => {
      if (!this.#released) this.whileHeld?.()
    }
  }

  get error() {
    return this.#slot.error
  }

  look() {
    if (!this.#released) this.#slot.look()
  }

  async verify() {
    let time
    try {
      time = await this.#slot.verify()
    } catch (error) {
      throw this.#slot.error ?? error
    }
    // It may be another caller's by now.
    if (this.#released) throw notHeld()
    return time
  }

  release() {
    this.#released ??= this.error ? Promise.reject(this.error) : this.#slot.handBack()
    return this.#released
  }
}

module.exports = { Permit, Slot }
