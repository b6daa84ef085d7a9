'use strict'

// A semaphore: `permits` holders at a time over all processes. A permit is one of as many keys, its slot.

const { invalidValue } = require('./errors.js')
const { HoldOfSeveral, LocksOfSeveral } = require('./several.js')

class LocksOfSemaphore extends LocksOfSeveral {
  /** As {@link import('./mutex.js').Key} has it. */
  name
  #key
  #queue

  /**
   * @param {import('./owner.js').Owner} owner
   * @param {import('./several.js').Contract} contract
   * @param {import('./shared-queue.js').SharedQueue} queue
   * @param {{ name: string | null, key: unknown }} given
   */
  constructor(owner, contract, queue, { name, key }) {
    super(owner, contract)
    this.name = name
    this.#key = key
    this.#queue = queue
  }

  describe() {
    return { name: this.name, key: this.#key, mode: 'permit' }
  }

  async takeHold(limits) {
    if (limits?.fencing) throw invalidValue('options.fencing is for locks: a permit has no fence')
    return super.takeHold(limits)
  }

  take(left) {
    return this.#queue.take(left, this.#toHold)
  }

  tryTake(signal) {
    return this.#queue.tryTake(signal, this.#toHold)
  }

  /** Who holds a permit, and who waits for one. */
  holders() {
    return this.#queue.holders()
  }

  #toHold = (permit) => new HoldOfSeveral(this, [permit])
}

module.exports = { LocksOfSemaphore }
