'use strict'

const { PermitQueue } = require('./permit-queue.js')

/** The queue of all objects that one owner has of one semaphore. It is found as long as somebody uses it. */
class SharedQueue {
  #queues
  #id
  #permits
  #toLocks
  /** @type {PermitQueue | undefined} */
  #latest

  /**
   * @param {Map<string, PermitQueue>} queues of the owner, that are in use
   * @param {string} id the same for the same semaphore
   * @param {number} permits
   * @param {(part: string) => import('./mutex.js').Locks} toLocks as {@link PermitQueue} takes it
   */
  constructor(queues, id, permits, toLocks) {
    this.#queues = queues
    this.#id = id
    this.#permits = permits
    this.#toLocks = toLocks
  }

  take(left, toHold) {
    return this.#toUse().take(left, toHold)
  }

  tryTake(signal, toHold) {
    return this.#toUse().tryTake(signal, toHold)
  }

  holders() {
    return this.#find().holders()
  }

  #find() {
    const onIdle = () => this.#queues.delete(this.#id)
    this.#latest = this.#queues.get(this.#id) ?? this.#latest ?? new PermitQueue(this.#permits, this.#toLocks, onIdle)
    return this.#latest
  }

  #toUse() {
    const queue = this.#find()
    this.#queues.set(this.#id, queue)
    return queue
  }
}

module.exports = { SharedQueue }
