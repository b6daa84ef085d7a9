'use strict'

const { Call } = require('./call.js')
const { tellOver } = require('./diagnostics.js')
const { notHeld } = require('./errors.js')
const { toLossController } = require('./loss-controller.js')
const { tellOfLoss } = require('./loss-news.js')
const mailbox = require('./mailbox.js')
const native = require('./native.js')

const { KEEP_ALIVE, NO, PENDING, RELEASE_FAILED, SCOPED, VERIFIED, YES } = native

/** A release that the server has not confirmed yet. */
class Releasing extends Call {
  constructor(hold) {
    super()
    this.hold = hold
  }

  settle(kind, _, error) {
    if (kind !== RELEASE_FAILED) return this.resolve(true)
    this.reject(error)
    this.hold.lose(error, true)
  }
}

/** A question whether a hold still stands. */
class Verifying extends Call {
  constructor(hold) {
    super()
    this.hold = hold
  }

  settle(kind, time, error) {
    const { hold } = this
    if (hold.error) this.reject(hold.error)
    else if (hold.isOver) this.reject(notHeld())
    else if (kind === VERIFIED) this.resolve(time)
    else this.reject(error)
  }
}

/** One granted acquire, from its grant until it is given up or lost. */
class Hold {
  /** Is told of the loss as well, by whoever runs something under the hold. @type {(() => void) | undefined} */
  whileHeld
  /** Its neighbours among the holds of its owner, for {@link import('./hold-list.js').HoldList}. @type {Hold | undefined} */
  older
  /** @type {Hold | undefined} */
  newer
  #error
  #controller
  #released
  #isGone = false

  /**
   * @param {import('./mutex.js').Locks} locks among which it is one
   * @param {number} request the number of the acquire
   * @param {number} flags of the acquire; with KEEP_ALIVE the process stays alive as long as it is held
   */
  constructor(locks, request, flags) {
    this.locks = locks
    this.request = request
    this.flags = flags
    mailbox.holds.set(request, this)
    locks.owner.holds.add(this)
    if (flags & KEEP_ALIVE) mailbox.refProcess()
  }

  get owner() {
    return this.locks.owner
  }

  /** Fires when the hold is lost. Made when first asked for: most callers never do. */
  get signal() {
    if (!this.#controller) {
      this.#controller = toLossController(() => this.look())
      if (this.#error) this.#controller.abort(this.#error)
    }
    this.look()
    return this.#controller.signal
  }

  /** Why it is lost, as far as that is known by now or can be found out. @returns {Error | undefined} */
  look() {
    if (!this.#error && !this.isOver) {
      mailbox.open(native.look(this.owner.number))
      mailbox.deliver()
    }
    return this.#error
  }

  /** Gives the hold up: resolves to whether that was still to do, rejects if it was lost before. Always the same promise. */
  release() {
    this.#released ??= Hold.#release(this)
    return this.#released
  }

  // No private methods here, for which each hold would have a mark.

  static #release(hold) {
    if (hold.#error) return Promise.reject(hold.#error)
    if (hold.#isGone) return Promise.resolve(false)
    const ticket = mailbox.newNumber()
    const reply = native.release(hold.owner.number, hold.request, ticket)
    // Everything is in place before the mail is opened: it may tell of this hold.
    const releasing = (reply & (YES | NO)) === PENDING ? new Releasing(hold) : undefined
    if (releasing) mailbox.expect(ticket, releasing)
    if (releasing || reply & YES) hold.markReleased()
    mailbox.open(reply)
    if (releasing) return releasing.promise
    if (hold.#isGone) return Promise.resolve(true)
    return Hold.#findOut(hold)
  }

  /** The core knows no such hold: the news of its loss is under way, or the owner has been closed. */
  static #findOut(hold) {
    mailbox.deliver()
    if (hold.#error) return Promise.reject(hold.#error)
    hold.markReleased()
    return Promise.resolve(false)
  }

  /**
   * Asks the session that holds, which takes a round trip: resolves to the server's time, in milliseconds since 1970, at which
   * the lock was held.
   */
  verify() {
    if (this.#error) return Promise.reject(this.#error)
    if (this.isOver) return Promise.reject(notHeld())
    return mailbox.ask(new Verifying(this), (ticket) => this.owner.native.verify(this.request, ticket))
  }

  /** The hold was given up: here, by `unlock()`, or with its owner. */
  markReleased() {
    this.#isGone = true
    forget(this)
    tellOver(this)
  }

  /**
   * The hold was lost with its session, or was gone when its end was to be confirmed.
   *
   * @param {Error} error
   * @param {boolean} isTold whether whoever has it hears of that without asking
   */
  lose(error, isTold = (this.flags & SCOPED) !== 0) {
    this.#error = error
    if (!this.#isGone) {
      forget(this)
      tellOver(this)
    }
    this.locks.onLost(this, isTold)
    tellOfLoss(this, error, () => this.#controller?.abort(error))
    this.whileHeld?.()
  }

  /** Whether its end has been asked for or has come: nothing of it is left to be told. */
  get isOver() {
    return this.#isGone || this.#released !== undefined
  }

  get error() {
    return this.#error
  }
}

/** Nothing can become of this hold any more. */
function forget(hold) {
  mailbox.holds.delete(hold.request)
  hold.owner.holds.delete(hold)
  if (!(hold.flags & KEEP_ALIVE)) return
  hold.flags &= ~KEEP_ALIVE
  mailbox.unrefProcess()
}

module.exports = { Hold }
