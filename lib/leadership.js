'use strict'

const { isOurs, termOver } = require('./errors.js')
const { fencingOf } = require('./fencing.js')
const { toLossController } = require('./loss-controller.js')
const { pause } = require('./pause.js')
const { ServerClock } = require('./server-clock.js')
const { runAt } = require('./ticks.js')

/**
 * What goes on under one hold of an election's lock: from its grant, which is not told yet, until it is lost or all that the
 * leader has begun has come to an end.
 */
class Leadership {
  clock = new ServerClock()
  /** Whether the leader has thrown, or something that it has begun. */
  hasFailed = false
  #hold
  #onError
  #controller = toLossController(() => this.#hold.look())
  /** When the term began, by the server's clock. */
  #begin
  /** The leader's function has not given way yet for the first time: nothing can have been due for it before. */
  #isBeginning = false
  /** Of what the leader has begun, how much has not ended. */
  #running = 0
  #onEnd
  /** The error that was told last; at first what no leader can throw. */
  #lastTold = this.#controller

  /**
   * @param {import('./hold.js').Hold} hold
   * @param {(error: unknown) => void} onError is told what goes wrong in the leader's code
   */
  constructor(hold, onError) {
    this.#hold = hold
    this.#onError = onError
  }

  /** Token and fence of the hold, where it has them. */
  get fencing() {
    return fencingOf(this.#hold)
  }

  /** Fires when it is over. */
  get signal() {
    return this.#controller.signal
  }

  /** Whether it is over, even where this thread has had no turn to hear of it. */
  get isOver() {
    return this.signal.aborted || this.#hold.error !== undefined
  }

  /** @throws why it is over, if it is */
  throwIfOver() {
    if (this.isOver) throw this.#hold.error ?? this.signal.reason
  }

  /** Ends it, if it is not over: whatever the leader has begun is to come to an end. A loss that is known is the reason then. */
  end(reason) {
    this.#controller.abort(this.#hold.error ?? reason)
  }

  /**
   * Sees to it that the lock is still held, `settle` milliseconds after the grant. The term begins at this moment of the server's
   * clock.
   */
  async begin(settle) {
    if (settle > 0) await pause(settle, this.signal)
    this.throwIfOver()
    this.#begin = await this.verify()
  }

  /** Runs the leader's function, and what it schedules, to the end of all of it. */
  run(lead) {
    return new Promise((resolve) => {
      this.#onEnd = resolve
      this.#isBeginning = true
      const leading = lead()
      this.#isBeginning = false
      void this.#include(leading)
    })
  }

  /** Runs `fn` at these times. Resolves when the term is over and `fn` has ended. */
  runAt(times, fn) {
    // What has become due on the way of the news of the grant is run as well. The server's clock may have been set back since.
    const due = times.next(this.#isBeginning ? this.#begin : Math.max(this.#begin, this.clock.now()))
    return this.#include(runAt(this, times, due, fn, (error) => this.#tell(error)))
  }

  /** The server's time, in milliseconds since 1970, at which the lock was held. */
  async verify() {
    const sent = performance.now()
    const time = await this.#hold.verify()
    this.clock.set(time, sent, performance.now())
    return time
  }

  /** The term lasts until this has ended, and ends if it fails. */
  #include(work) {
    this.#running++
    const fail = (error) => {
      if (this.#tell(error)) this.hasFailed = true
      this.end(termOver('the leader has failed'))
    }
    const done = () => {
      if (--this.#running > 0) return
      this.end(termOver('the leader has ended'))
      this.#onEnd()
    }
    void work.then(undefined, fail).finally(done)
    return work
  }

  /** Tells of an error and whether it did: not if it says no more than that the term is over, nor twice, as it may come by two ways. */
  #tell(error) {
    const isNews = !this.isOver || !(error === this.signal.reason || isEndOfTerm(error))
    if (!isNews || error === this.#lastTold) return false
    this.#lastTold = error
    this.#onError(error)
    return true
  }
}

/** Whether something was ended by a signal, or has found the lock gone. */
function isEndOfTerm(error) {
  if (isOurs(error, 'ERR_LOCK_LOST', 'ERR_TERM_OVER')) return true
  try {
    return error?.name === 'AbortError'
  } catch {
    // A leader may throw what cannot be read.
    return false
  }
}

module.exports = { Leadership }
