'use strict'

const { Call } = require('./call.js')
const { isTracing, traceAcquire } = require('./diagnostics.js')
const { clientClosed, fromFailures, lockTimeout } = require('./errors.js')
const { Hold } = require('./hold.js')
const { Limit } = require('./limit.js')
const mailbox = require('./mailbox.js')
const native = require('./native.js')

const { FAILED, GRANTED, NO, PATIENT, YES } = native

/** An acquire that has not been answered yet. */
class Acquiring extends Call {
  /** @param {Limit} [limit] */
  constructor(locks, request, flags, toValue, limit) {
    super()
    this.locks = locks
    this.request = request
    this.flags = flags
    this.toValue = toValue
    this.limit = limit
    if (limit) limit.onEnd = (reason) => this.takeBack(reason)
  }

  settle(kind, _, error) {
    const { locks, limit } = this
    limit?.lift()
    if (kind === FAILED) this.reject(error)
    // Granted before the owner was closed, which has given it up.
    else if (kind === GRANTED && locks.owner.isClosed) this.reject(clientClosed())
    else if (kind === GRANTED) this.resolve(this.toValue(locks, new Hold(locks, this.request, this.flags)))
    else if (limit?.timeout === 0) this.reject(lockTimeout(0))
    else this.resolve(this.toValue(locks))
  }

  /** Ends the wait. If the lock was granted in this moment, the core gives back what nobody is told of. */
  takeBack(reason) {
    if (!mailbox.forget(this.request)) return
    const { limit, locks, request } = this
    // Not known any more once the request is taken back.
    const cause = limit.ended.isTimeout ? whyUnanswered(locks, limit.timeout, request) : undefined
    mailbox.open(locks.owner.native.cancel(request))
    this.reject(cause ? lockTimeout(limit.total, cause) : reason)
  }
}

/**
 * Why nobody can say whether a lock is taken that was waited for: the error of the connection; nothing where somebody has said.
 *
 * @param {import('./mutex.js').Locks} locks
 * @param {number} waited milliseconds
 * @param {number} [request] where it may hold locks of the same key that are no obstacle
 */
function whyUnanswered({ owner, high, low, flags }, waited, request = 0) {
  return fromFailures(owner.native.whyUnanswered(high, low, flags, request, waited))
}

/**
 * Asks for a lock.
 *
 * @template T
 * @param {import('./mutex.js').Locks} locks
 * @param {number} manner PATIENT, SCOPED
 * @param {{ timeout: number, signal?: AbortSignal } | undefined} limits
 * @param {(locks: import('./mutex.js').Locks, hold?: Hold) => T} toValue what it resolves to; no hold: the lock is taken,
 *   and the request does not wait
 * @returns {Promise<T>}
 * @throws what keeps the request from being made; nothing can fail once it is
 */
function acquire(locks, manner, limits, toValue) {
  const isTraced = isTracing() && locks.name !== undefined
  return isTraced ? acquireTraced(locks, manner, limits, toValue) : acquireUntraced(locks, manner, limits, toValue)
}

function acquireTraced(locks, manner, limits, toValue) {
  return traceAcquire(locks.describe(), limits, (onGranted) => {
    const toTracedValue = (among, hold) => {
      if (hold) onGranted(hold)
      return toValue(among, hold)
    }
    return acquireUntraced(locks, manner, limits, toTracedValue)
  })
}

/** The same as {@link acquire}, of which those who trace locks are not told. */
function acquireUntraced(locks, manner, limits, toValue) {
  const { owner } = locks
  if (owner.number === 0) owner.open()
  const request = mailbox.newNumberOfAcquire()
  let flags = locks.flags | manner
  let limit
  if (limits) {
    limit = new Limit(limits)
    if (limit.ended) return Promise.reject(limit.ended.reason)
    // No time to wait is not to wait: a timer would be over before the server could answer.
    if (limit.timeout === 0) flags &= ~PATIENT
  }
  const reply = native.acquire(owner.number, locks.high, locks.low, flags, request)
  if (reply & (YES | NO)) {
    limit?.lift()
    const hold = reply & YES ? new Hold(locks, request, flags) : undefined
    mailbox.open(reply)
    if (!hold && limit?.timeout === 0) return Promise.reject(lockTimeout(0))
    return Promise.resolve(toValue(locks, hold))
  }
  const acquiring = new Acquiring(locks, request, flags, toValue, limit)
  mailbox.expect(request, acquiring)
  mailbox.open(reply)
  return acquiring.promise
}

module.exports = { Acquiring, acquire, acquireUntraced, whyUnanswered }
