'use strict'

// A semaphore: `permits` holders at a time over all processes. A permit is one of as many keys, its slot. Who waits holds the key
// of the gate, behind which the others queue first in, first out.

const { offAbort, onAbort } = require('./abort-listeners.js')
const { PermitNumber } = require('./permit-number.js')
const { HoldOfSeveral, LocksOfSeveral, TimeLeft, collect, giveBack, takePart, tryPart } = require('./several.js')

/** So many slots are tried at once, then more, until one is free: the first mostly is where permits come and go. */
const TRIED_AT_ONCE = [1, 15, 240, Infinity]

class LocksOfSemaphore extends LocksOfSeveral {
  #permits
  #toLocks
  #gate
  #slots = []
  /** The slot to try first: permits mostly come back in the order in which they were taken. */
  #next
  #number

  /**
   * @param {import('./owner.js').Owner} owner
   * @param {import('./several.js').Contract} contract
   * @param {(part: string) => import('./mutex.js').Locks} toLocks the locks of a key that belongs to the semaphore, each
   *   acquire an owner of its own
   * @param {number} permits
   */
  constructor(owner, contract, toLocks, permits) {
    super(owner, contract)
    this.#permits = permits
    this.#next = Math.floor(Math.random() * permits)
    this.#toLocks = toLocks
    this.#gate = toLocks('gate')
    this.#number = new PermitNumber(permits, toLocks)
  }

  async take(left) {
    try {
      return await this.#using(left, async () => {
        const gate = await takePart(this.#gate, left.limits())
        try {
          return (await this.#trySlots(left.limits())) ?? (await this.#waitForSlot(left))
        } finally {
          giveBack([gate])
        }
      })
    } catch (error) {
      throw left.explain(error)
    }
  }

  tryTake(signal) {
    const left = new TimeLeft({ signal })
    return this.#using(left, () => this.#trySlots(left.limits()))
  }

  /** Takes a slot, with the number of permits told from before that to the end of its hold. */
  async #using(left, takeSlot) {
    await this.#number.enter(left)
    let slot
    try {
      slot = await takeSlot()
    } finally {
      if (!slot) this.#number.leave()
    }
    return slot && new HoldOfSeveral(this, [slot])
  }

  onEnded() {
    this.#number.leave()
  }

  #slot(number) {
    return (this.#slots[number] ??= this.#toLocks(`slot ${number}`))
  }

  /** Takes a slot that is free, if there is one. */
  async #trySlots(limits) {
    const numbers = Array.from({ length: this.#permits }, (_, number) => number)
    const first = this.#next
    const order = [...numbers.slice(first), ...numbers.slice(0, first)]
    for (const count of TRIED_AT_ONCE) {
      const tried = order.splice(0, count)
      if (tried.length === 0) return undefined
      const attempts = tried.map((number) => tryPart(this.#slot(number), limits))
      const { holds, denied } = await collect(attempts)
      giveBack(holds.slice(1))
      if (holds.length > 0) {
        this.#next = (tried.find((_, place) => !denied.includes(place)) + 1) % this.#permits
        return holds[0]
      }
    }
    return undefined
  }

  /** Waits for whichever slot is free first. */
  async #waitForSlot(left) {
    const over = new AbortController()
    const limits = left.limits(over.signal)
    const abort = () => over.abort(left.signal.reason)
    if (left.signal) onAbort(left.signal, abort)
    const waits = Array.from({ length: this.#permits }, (_, number) => takePart(this.#slot(number), limits))
    const giveBackLate = (winner) => (hold) => hold === winner || giveBack([hold])
    try {
      const slot = await Promise.any(waits)
      for (const wait of waits) wait.then(giveBackLate(slot), () => {})
      return slot
    } catch ({ errors: [first] }) {
      throw first
    } finally {
      if (left.signal) offAbort(left.signal, abort)
      over.abort()
    }
  }

  /** Who holds a permit, and who waits for one. */
  async holders() {
    const numbers = Array.from({ length: this.#permits }, (_, number) => number)
    const [waiting, ...slots] = await Promise.all([this.#gate.holders(), ...numbers.map((number) => this.#slot(number).holders())])
    const holding = slots.flatMap((found, slot) => found.filter(({ granted }) => granted).map((holder) => ({ ...holder, slot })))
    return [...holding, ...waiting.filter(({ granted }) => !granted).map((holder) => ({ ...holder, slot: null }))]
  }
}

module.exports = { LocksOfSemaphore }
