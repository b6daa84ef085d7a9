'use strict'

// Who waits in this process for permits of one semaphore. Of each queue one search at a time looks for a free slot. It holds the
// key of the gate meanwhile, behind which the searches of other processes queue first in, first out.
//
// Slots are looked through in turn: nobody takes one meanwhile, so whoever finds none that is free knows that there was none. Those
// who wait at the gate wait for the slots themselves, out of turn.
//
// Callers hand slots on among themselves, as the owners of a lock do in the core, and for no longer.

const { whyUnanswered } = require('./acquire.js')
const { another, lockTimeout } = require('./errors.js')
const { Permit, Slot } = require('./permit.js')
const { NumberUse, PermitNumber } = require('./permit-number.js')
const { Waiter } = require('./permit-waiter.js')
const { GATE, TURN } = require('./semaphore-parts.js')
const { TimeLeft, collect, giveBack, giveBackFully, takePart, tryPart } = require('./several.js')
const { Slots } = require('./slots.js')
const { inTurn } = require('./turn.js')

/** @typedef {(permit: Permit) => import('./several.js').HoldOfSeveral} ToHold */

class PermitQueue {
  #onIdle
  #gate
  #turn
  #slots
  #number
  /** Callers that wait, in the order of their calls. A `Set` forgets one in the middle at no cost. @type {Set<Waiter>} */
  #waiting = new Set()
  /** Ends the search that is under way. @type {AbortController | undefined} */
  #search
  /** Whether that has found no slot, and waits for one. */
  #isFull = false
  /** Calls of {@link PermitQueue.tryTake} that are under way; all that have come so far, and the last that is known to find none. */
  #tries = 0
  #lastTry = 0
  #lastInVain = 0
  /** The latest of them, for which the next one waits. @type {Promise<unknown>} */
  #trying = Promise.resolve()

  /**
   * @param {number} permits
   * @param {(part: string) => import('./mutex.js').Locks} toLocks the locks of a key that belongs to the semaphore, each
   *   acquire an owner of its own
   * @param {() => void} onIdle is told when nobody uses it any more
   */
  constructor(permits, toLocks, onIdle) {
    this.#onIdle = onIdle
    this.#gate = toLocks(GATE)
    this.#turn = toLocks(TURN)
    this.#slots = new Slots(permits, toLocks)
    this.#number = new PermitNumber(permits, toLocks)
  }

  /** Waits for a permit. @param {TimeLeft} left @param {ToHold} toHold */
  take(left, toHold) {
    const waiter = new Waiter(left, toHold)
    if (waiter.limit?.ended) throw waiter.limit.ended.reason
    this.#waiting.add(waiter)
    waiter.onEnd = (reason) => {
      this.#waiting.delete(waiter)
      const { isTimeout } = waiter.limit.ended
      const explained = isTimeout ? lockTimeout(waiter.limit.total, this.#whyUnanswered(waiter.limit.timeout)) : reason
      if (this.#waiting.size === 0) this.#search?.abort()
      return explained
    }
    if (!this.#search) void this.#searchForAll()
    return waiter.promise
  }

  /** Why nobody can say whether all permits are taken: the error of the connection; nothing where somebody has said. */
  #whyUnanswered(waited) {
    const causes = [this.#gate, ...this.#slots.known].map((part) => whyUnanswered(part, waited))
    return causes.every(Boolean) ? causes[0] : undefined
  }

  /** Takes a permit if one is free. @param {AbortSignal | undefined} signal @param {ToHold} toHold */
  async tryTake(signal, toHold) {
    if (this.#isFull) return undefined
    const left = new TimeLeft({ signal })
    const number = ++this.#lastTry
    const earlier = this.#trying
    this.#tries++
    const trying = this.#tryAfter(earlier, number, left)
    this.#trying = trying.catch(() => {})
    try {
      const slot = await trying
      return slot && toHold(new Permit(slot))
    } finally {
      this.#tries--
      this.#lookWhetherIdle()
    }
  }

  /** One try, after those that came before it. Whoever was there when a try began that has found no slot knows that there was none. */
  async #tryAfter(earlier, number, left) {
    await left.race(earlier)
    if (number <= this.#lastInVain) return undefined
    return this.#use(left, (use) =>
      this.#inTurn(left, async () => {
        const last = this.#lastTry
        await use.tell(left)
        const slot = await this.#slots.tryOne(left.limits())
        if (!slot) this.#lastInVain = last
        return slot
      }),
    )
  }

  /** Finds a slot for each who waits, one after the other. */
  async #searchForAll() {
    while (this.#waiting.size > 0) {
      let search
      try {
        search = this.#search = new AbortController()
        void this.pass(await this.#find(new TimeLeft({ signal: search.signal })))
      } catch (error) {
        // An aborted search is nobody's. What is in the way of any other is so for all.
        if (!search?.signal.aborted) for (const waiter of this.#takeAll()) waiter.reject(another(error))
      }
    }
    this.#search = undefined
    this.#lookWhetherIdle()
  }

  #find(left) {
    return this.#use(left, async (use) => {
      let gate
      try {
        let hold
        ;[gate, hold] = await this.#inTurn(left, async () => {
          await use.tell(left)
          return this.#tryGateAndSlot(left.limits())
        })
        if (!gate) {
          gate = await takePart(this.#gate, left.limits())
          hold = await this.#inTurn(left, () => this.#slots.tryOne(left.limits()))
        }
        return hold ?? (await this.#waitForSlot(left))
      } finally {
        if (gate) giveBack([gate])
      }
    })
  }

  /**
   * Takes a slot where nobody is at the gate before.
   *
   * @returns {Promise<(import('./hold.js').Hold | undefined)[]>} the gate, and the slot
   */
  async #tryGateAndSlot(limits) {
    const gate = tryPart(this.#gate, limits)
    const { holds, denied } = await collect([gate, this.#slots.tryOne(limits, gate)])
    if (!denied.includes(0)) return holds
    await giveBackFully(holds)
    return []
  }

  async #waitForSlot(left) {
    this.#isFull = true
    try {
      return await this.#slots.waitForOne(left)
    } finally {
      this.#isFull = false
    }
  }

  /**
   * Has a slot taken, with the number of permits told from before that to the end of its hold.
   *
   * @param {TimeLeft} left
   * @param {(use: NumberUse) => Promise<import('./hold.js').Hold | undefined>} takeSlot begins with telling the number
   */
  async #use(left, takeSlot) {
    const use = new NumberUse(this.#number)
    let hold
    let slot
    try {
      hold = await takeSlot(use)
      if (!hold) return undefined
      // The session that told the number may have been lost while a slot was waited for. Then nobody else knows of it.
      while (use.told.error) await this.#inTurn(left, () => use.tell(left))
      slot = new Slot(hold, use.told, this)
      return slot
    } finally {
      if (!slot) {
        if (hold) giveBack([hold])
        use.end()
      }
    }
  }

  #inTurn(left, work) {
    return inTurn(this.#turn, left, work)
  }

  #takeFirst() {
    const [first] = this.#waiting
    this.#waiting.delete(first)
    first?.limit?.lift()
    return first
  }

  #takeAll() {
    return Array.from(this.#waiting, () => this.#takeFirst())
  }

  /** Hands a slot to who waits first, or gives it back where nobody waits, or others have waited for long enough. @param {Slot} slot */
  pass(slot) {
    if (slot.error || slot.isOverdue) return slot.end()
    const first = this.#takeFirst()
    if (!first) return slot.end()
    first.grant(new Permit(slot))
    return Promise.resolve(true)
  }

  /** A slot was given back or lost. */
  onSlotEnded() {
    this.#number.withdraw()
    this.#lookWhetherIdle()
  }

  #lookWhetherIdle() {
    if (!this.#search && this.#tries === 0 && !this.#number.isUsed) this.#onIdle()
  }

  /** Who holds a permit, and who waits for one. */
  async holders() {
    const [waiting, holding] = await Promise.all([this.#gate.holders(), this.#slots.holders()])
    return [...holding, ...waiting.filter(({ granted }) => !granted).map((holder) => ({ ...holder, slot: null }))]
  }
}

module.exports = { PermitQueue }
