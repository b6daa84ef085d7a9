'use strict'

// One process out of many leads: the one that holds the lock. Each stands for election until its election is stopped.

const { EventEmitter } = require('node:events')
const { offAbort, onAbort } = require('./abort-listeners.js')
const { Backoff } = require('./backoff.js')
const { tellElected } = require('./diagnostics.js')
const { display, stackOf } = require('./display.js')
const { termOver } = require('./errors.js')
const { Leadership } = require('./leadership.js')
const mailbox = require('./mailbox.js')
const { pause } = require('./pause.js')
const { throwSoon } = require('./soon.js')
const { Term } = require('./term.js')
const { asyncDispose } = require('./unlock-function.js')

/** A leader that goes on for so many milliseconds after its term is over is warned about. */
const PATIENCE = 5000

/**
 * Stands for election by one lock, again and again.
 *
 * Invariant: from the grant of the lock until everything that the leader has begun has come to an end, the lock is not asked for
 * again, and it is given up by nothing but its loss.
 */
class Election extends EventEmitter {
  #locks
  #name
  #lead
  #signal
  #settle
  #fencing
  #backoff
  #stopping = new AbortController()
  /** Under the lock that was granted last, whether or not anybody was told. */
  #leadership
  #isElected = false
  /** What was warned about last, which is not said again. */
  #warning
  #ended

  /**
   * @param {import('./mutex.js').Locks} locks of an owner that is this election's alone
   * @param {unknown} name what the mutex was made of
   * @param {(term: Term) => unknown} lead
   * @param {{ signal?: AbortSignal, backoff: { min: number, max: number }, settle: number, fencing: boolean }} options
   */
  constructor(locks, name, lead, { signal, backoff, settle, fencing }) {
    super()
    this.#locks = locks
    this.#name = typeof name === 'string' ? JSON.stringify(name) : display(name)
    this.#lead = lead
    this.#signal = signal
    this.#settle = settle
    this.#fencing = fencing
    this.#backoff = new Backoff(backoff)
    // What can fail comes before anything is begun: a signal may be a library's.
    const isOver = signal?.aborted
    if (signal && !isOver) onAbort(signal, this.stop)
    mailbox.refProcess()
    this.#ended = this.#run()
    if (isOver) void this.stop()
  }

  /** Whose the lock is. */
  get owner() {
    return this.#locks.owner
  }

  get isLeader() {
    return this.#isElected && !this.#leadership.isOver
  }

  get ended() {
    return this.#ended
  }

  stop = () => {
    this.#stopping.abort()
    this.#leadership?.end(termOver('the election was stopped'))
    return this.#ended
  }

  async [asyncDispose]() {
    await this.stop()
  }

  async #run() {
    // Whoever has called `elect` is to listen first.
    await undefined
    const stopped = this.#stopping.signal
    let outcome = { delay: 0, failure: undefined }
    while (!stopped.aborted) {
      this.#tell('standby', outcome.failure)
      await pause(outcome.delay, stopped)
      if (!stopped.aborted) outcome = await this.#campaign(stopped)
    }
    if (this.#signal) offAbort(this.#signal, this.stop)
    await this.#locks.owner.close()
    mailbox.unrefProcess()
  }

  /** Waits for the lock, and leads while it is held. Resolves to how long to stand back then, and to what was in the way. */
  async #campaign(stopped) {
    let hold
    try {
      hold = await this.#locks.takeHold({ timeout: Infinity, signal: stopped, fencing: this.#fencing })
    } catch (failure) {
      return { delay: this.#backoff.next(), failure }
    }
    let leadership
    let term
    let patience
    try {
      leadership = this.#leadership = new Leadership(hold, (error) => this.#tellError(error))
      hold.whileHeld = () => this.#lose(hold.error)
      // The grant may have come in that moment.
      if (stopped.aborted) void this.stop()
      term = new Term(leadership)
      await leadership.begin(this.#settle)
      // The loss may have come with the answer. From here to the election nothing else runs.
      leadership.throwIfOver()
      patience = this.#warnIfOverdue(leadership.signal)
    } catch (failure) {
      await releaseQuietly(hold)
      return { delay: this.#backoff.next(), failure }
    }
    const since = performance.now()
    await this.#leadUnder(leadership, term)
    patience.end()
    await releaseQuietly(hold)
    this.#isElected = false
    const isLost = hold.error !== undefined
    if (!isLost) this.#tell('resigned')
    this.#backoff.succeeded(performance.now() - since)
    return { delay: isLost || leadership.hasFailed ? this.#backoff.next() : this.#backoff.min }
  }

  async #leadUnder(leadership, term) {
    const lead = this.#lead
    this.#isElected = true
    tellElected(this.#locks, term)
    this.#tell('elected', term)
    // Whoever was told of the election may have ended it.
    await leadership.run(async () => (leadership.isOver ? undefined : lead(term)))
  }

  /** Warns where the leader goes on long after its signal, or after the election was stopped. */
  #warnIfOverdue(signal) {
    const signals = [signal, this.#stopping.signal]
    let timer
    const begin = () => {
      clearTimeout(timer)
      timer = setTimeout(() => this.#warnThatItGoesOn(), PATIENCE)
    }
    for (const one of signals) onAbort(one, begin)
    return {
      end() {
        for (const one of signals) offAbort(one, begin)
        clearTimeout(timer)
      },
    }
  }

  #warnThatItGoesOn() {
    const why = this.#stopping.signal.aborted
      ? 'the election was stopped: `stop()` and `close()` wait until it has ended, and a leader that awaits one of them waits for itself'
      : 'its signal was aborted: until it has ended, this process neither stands for election again nor stops'
    const message = `the leader of ${this.#name} goes on ${PATIENCE / 1000} s after ${why}`
    if (message === this.#warning) return
    this.#warning = message
    process.emitWarning(message, { type: 'AdvisoryLockWarning', code: 'ADVISORY_LOCK_LEADER_GOES_ON' })
  }

  #lose(error) {
    const leadership = this.#leadership
    mailbox.tell(() => {
      leadership.end(error)
      if (this.#isElected) this.#tell('lost', error)
    })
  }

  #tellError(error) {
    if (this.listenerCount('error') > 0) return this.#tell('error', error)
    const message = `the leader of ${this.#name} has failed: ${display(error)}`
    process.emitWarning(message, { type: 'AdvisoryLockWarning', code: 'ADVISORY_LOCK_LEADER_FAILED', detail: stackOf(error) })
  }

  /** A listener that throws ends the process, as it does anywhere, but not what goes on here. */
  #tell(event, ...parameters) {
    try {
      this.emit(event, ...parameters)
    } catch (error) {
      throwSoon(error)
    }
  }
}

/** What is lost in that moment is told of by the hold. */
const releaseQuietly = (hold) => hold.release().catch(() => {})

module.exports = { Election }
