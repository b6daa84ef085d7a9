'use strict'

const { offAbort, onAbort } = require('./abort-listeners.js')
const { reasonOf } = require('./abort-reason.js')
const { lockTimeout } = require('./errors.js')

/** More milliseconds than this end at once in a timer. */
const LONGEST_TIMER = 2 ** 31 - 1

/**
 * The limits of one wait: its time and its signal. They are in force as soon as they are made, before the lock is asked for:
 * timers and signals may be those of a test or of a library, and may fail.
 */
class Limit {
  /** What has ended the wait: the reason to reject with, and whether that is the time. @type {{ reason: unknown, isTimeout: boolean } | undefined} */
  ended
  /** Is told of the end, once the wait has begun. @type {((reason: unknown) => void) | undefined} */
  onEnd
  #isLifted = false
  #signal
  #clearTimer

  /**
   * @param {{ timeout: number, total?: number, signal?: AbortSignal }} limits `total`: the time of the whole call, where this wait is one of
   *   its steps
   * @throws what a timer or a signal throws
   */
  constructor({ timeout, total = timeout, signal }) {
    this.timeout = timeout
    this.total = total
    this.#signal = signal
    try {
      if (signal?.aborted) this.#abort()
      else if (signal) onAbort(signal, this.#abort)
      if (timeout > 0 && timeout < Infinity) this.#wait(timeout)
    } catch (error) {
      this.lift()
      throw error
    }
  }

  /** The wait is over: nothing ends it any more. */
  lift() {
    if (this.#isLifted) return
    this.#isLifted = true
    this.#clearTimer?.()
    if (this.#signal) offAbort(this.#signal, this.#abort)
  }

  /** Counts down by timers alone: those of a test may run out while its clock stands still. */
  #wait(left) {
    if (this.#isLifted) return
    const part = Math.min(left, LONGEST_TIMER)
    const next = () => (left > part ? this.#wait(left - part) : this.#end(lockTimeout(this.total), true))
    const { setTimeout, clearTimeout } = globalThis
    const timer = setTimeout(next, Math.ceil(part))
    this.#clearTimer = () => clearTimeout(timer)
  }

  #abort = () => this.#end(reasonOf(this.#signal), false)

  #end(reason, isTimeout) {
    if (this.#isLifted) return
    this.lift()
    this.ended = { reason, isTimeout }
    this.onEnd?.(reason)
  }
}

module.exports = { Limit }
