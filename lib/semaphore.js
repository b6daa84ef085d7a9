'use strict'

// A semaphore: `permits` holders at a time over all processes. A permit is one of as many keys, its slot. Of each process one
// search at a time looks for a free slot. It holds the key of the gate meanwhile, behind which the searches of other processes
// queue first in, first out.
//
// Callers of this object hand slots on among themselves, as the owners of a lock do in the core, and for no longer.

const { whyUnanswered } = require('./acquire.js')
const { invalidValue, lockTimeout, notHeld } = require('./errors.js')
const { LocksOfSeveral, HoldOfSeveral, TimeLeft, collect, giveBack, takePart, tryPart } = require('./several.js')
const { Limit } = require('./limit.js')
const { PermitNumber } = require('./permit-number.js')
const { GATE, partOfSlot } = require('./semaphore-parts.js')

/** So many slots are tried at once, then more, until one is free: the first mostly is where permits come and go. */
const TRIED_AT_ONCE = [1, 15, 240, Infinity]
/** How long, in milliseconds, a slot is handed on here before others get their turn. */
const TENURE = 20

class LocksOfSemaphore extends LocksOfSeveral {
  /** As {@link import('./mutex.js').Key} has it. */
  name
  #key
  #permits
  #toLocks
  #gate
  #slots = []
  /** The slot to try first: permits mostly come back in the order in which they were taken. */
  #next
  #number
  /** Callers that wait, in the order of their calls. A `Set` forgets one in the middle at no cost. @type {Set<Waiter>} */
  #waiting = new Set()
  /** Ends the search that is under way. @type {AbortController | undefined} */
  #search

  /**
   * @param {import('./owner.js').Owner} owner
   * @param {import('./several.js').Contract} contract
   * @param {(part: string) => import('./mutex.js').Locks} toLocks the locks of a key that belongs to the semaphore, each
   *   acquire an owner of its own
   * @param {number} permits
   * @param {{ name: string | null, key: unknown }} given
   */
  constructor(owner, contract, toLocks, permits, { name, key }) {
    super(owner, contract)
    this.name = name
    this.#key = key
    this.#permits = permits
    this.#next = Math.floor(Math.random() * permits)
    this.#toLocks = toLocks
    this.#gate = toLocks(GATE)
    this.#number = new PermitNumber(permits, toLocks)
  }

  describe() {
    return { name: this.name, key: this.#key, mode: 'permit' }
  }

  async takeHold(limits) {
    if (limits?.fencing) throw invalidValue('options.fencing is for locks: a permit has no fence')
    return super.takeHold(limits)
  }

  take(left) {
    const waiter = new Waiter(left)
    if (waiter.limit?.ended) throw waiter.limit.ended.reason
    this.#waiting.add(waiter)
    waiter.onEnd = (reason) => {
      this.#waiting.delete(waiter)
      const { isTimeout } = waiter.limit.ended
      const explained = isTimeout ? lockTimeout(waiter.limit.timeout, this.#whyUnanswered(waiter.limit.timeout)) : reason
      if (this.#waiting.size === 0) this.#search?.abort()
      return explained
    }
    if (!this.#search) void this.#searchForAll()
    return waiter.promise
  }

  /** Why nobody can say whether all permits are taken: the error of the connection; nothing where somebody has said. */
  #whyUnanswered(waited) {
    const causes = [this.#gate, ...this.#slots.filter(Boolean)].map((part) => whyUnanswered(part, waited))
    return causes.every(Boolean) ? causes[0] : undefined
  }

  async tryTake(signal) {
    if (this.#waiting.size > 0) return undefined
    const left = new TimeLeft({ signal })
    const slot = await this.#use(left, () => this.#trySlots(left.limits()))
    return slot && this.#grant(slot)
  }

  /** Finds a slot for each who waits, one after the other. */
  async #searchForAll() {
    while (this.#waiting.size > 0) {
      this.#search = new AbortController()
      try {
        this.#pass(await this.#find(new TimeLeft({ signal: this.#search.signal })))
      } catch (error) {
        // An aborted search is nobody's.
        if (!this.#search.signal.aborted) this.#takeFirst()?.reject(error)
      }
    }
    this.#search = undefined
  }

  #find(left) {
    return this.#use(left, async () => {
      const gate = await takePart(this.#gate, left.limits())
      try {
        return (await this.#trySlots(left.limits())) ?? (await this.#waitForSlot(left))
      } finally {
        giveBack([gate])
      }
    })
  }

  /** Takes a slot, with the number of permits told from before that to the end of its hold. */
  async #use(left, takeSlot) {
    await this.#number.publish(left)
    let hold
    try {
      hold = await takeSlot()
    } finally {
      if (!hold) this.#number.withdraw()
    }
    return hold && new Slot(hold, this)
  }

  #takeFirst() {
    const [first] = this.#waiting
    this.#waiting.delete(first)
    first?.limit?.lift()
    return first
  }

  #grant(slot) {
    return new HoldOfSeveral(this, [new Permit(slot)])
  }

  /** Hands a slot to who waits first, or gives it back where nobody waits, or others have waited for long enough. */
  #pass(slot) {
    if (slot.hold.error || slot.isOverdue) return slot.end()
    const first = this.#takeFirst()
    if (!first) return slot.end()
    first.resolve(this.#grant(slot))
    return Promise.resolve(true)
  }

  /** A permit is given back. */
  handBack(slot) {
    return this.#pass(slot)
  }

  /** A slot was given back or lost. */
  onSlotEnded() {
    this.#number.withdraw()
  }

  #slot(number) {
    return (this.#slots[number] ??= this.#toLocks(partOfSlot(number)))
  }

  /** Takes a slot that is free, if there is one. */
  async #trySlots(limits) {
    const numbers = Array.from({ length: this.#permits }, (_, number) => number)
    const order = [...numbers.slice(this.#next), ...numbers.slice(0, this.#next)]
    for (const count of TRIED_AT_ONCE) {
      const tried = order.splice(0, count)
      if (tried.length === 0) return undefined
      const { holds, denied } = await collect(tried.map((number) => tryPart(this.#slot(number), limits)))
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
    const abort = () => over.abort(left.signal.reason)
    left.signal.addEventListener('abort', abort)
    const limits = { timeout: Infinity, signal: over.signal }
    const waits = Array.from({ length: this.#permits }, (_, number) => takePart(this.#slot(number), limits))
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

  /** Who holds a permit, and who waits for one. */
  async holders() {
    const numbers = Array.from({ length: this.#permits }, (_, number) => number)
    const [waiting, ...slots] = await Promise.all([this.#gate.holders(), ...numbers.map((number) => this.#slot(number).holders())])
    const holding = slots.flatMap((found, slot) => found.filter(({ granted }) => granted).map((holder) => ({ ...holder, slot })))
    return [...holding, ...waiting.filter(({ granted }) => !granted).map((holder) => ({ ...holder, slot: null }))]
  }
}

/** A call that waits for a permit. */
class Waiter {
  /** Is told of the end of its time or of its signal, and says why it is to reject. @type {(reason: unknown) => unknown} */
  onEnd

  /** @param {TimeLeft} left */
  constructor(left) {
    const limits = left.limits()
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    if (!limits) return
    this.limit = new Limit(limits)
    this.limit.onEnd = (reason) => this.reject(left.explain(this.onEnd(reason)))
  }
}

/** A slot that is held on the server, whoever here has its permit. */
class Slot {
  #locks
  #ended
  #since = performance.now()

  constructor(hold, locks) {
    this.hold = hold
    this.#locks = locks
  }

  get isOverdue() {
    return performance.now() - this.#since >= TENURE
  }

  /** Gives it back on the server. */
  end() {
    if (!this.#ended) {
      this.#locks.onSlotEnded()
      this.#ended = this.hold.release()
      this.#ended.catch(() => {})
    }
    return this.#ended
  }

  handBack() {
    return this.#locks.handBack(this)
  }
}

/** The turn of one caller with a slot: what a hold is made of. */
class Permit {
  #slot
  #released

  constructor(slot) {
    this.#slot = slot
    slot.hold.whileHeld = () => {
      if (this.#released) return
      slot.end()
      this.whileHeld()
    }
  }

  get error() {
    return this.#slot.hold.error
  }

  look() {
    if (!this.#released) this.#slot.hold.look()
  }

  async verify() {
    const time = await this.#slot.hold.verify()
    // It may be another caller's by now.
    if (this.#released) throw notHeld()
    return time
  }

  release() {
    return (this.#released ??= this.#slot.handBack())
  }
}

module.exports = { LocksOfSemaphore }
