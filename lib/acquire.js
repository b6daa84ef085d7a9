'use strict'

const { Call } = require('./call.js')
const core = require('./client.js')
const { clientClosed, lockTimeout } = require('./errors.js')
const { Hold } = require('./hold.js')
const native = require('./native.js')

const LONGEST_TIMER = 2 ** 31 - 1

/** An acquire that has not been answered yet. */
class Acquiring extends Call {
  /** Of its time, where there is one. */
  limit

  constructor(locks, request, how, toValue) {
    super()
    this.locks = locks
    this.request = request
    this.how = how
    this.toValue = toValue
  }

  settle(kind, _, error) {
    const { locks, request, how, limit, toValue } = this
    limit?.lift()
    if (kind === core.FAILED) this.reject(error)
    // Granted before the owner was closed, which has given it up.
    else if (kind === core.GRANTED && locks.owner.isClosed) this.reject(clientClosed())
    else if (kind === core.GRANTED) this.resolve(toValue(locks, new Hold(locks, request, how)))
    else if (limit?.timeout === 0) this.reject(lockTimeout(0))
    else this.resolve(toValue(locks))
  }
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
 */
function acquire(locks, manner, limits, toValue) {
  const { owner } = locks
  let how = locks.how | manner
  const timeout = limits?.timeout
  if (limits?.signal?.aborted) return Promise.reject(limits.signal.reason)
  // No time to wait is not to wait: a timer would be over before the server could answer.
  if (timeout === 0) how &= ~core.PATIENT
  const request = core.newNumber()
  const reply = native.acquire(owner.number, locks.high, locks.low, how, request)
  if (reply & core.YES) {
    const hold = new Hold(locks, request, how)
    core.open(reply)
    return Promise.resolve(toValue(locks, hold))
  }
  if (reply & core.NO) {
    core.open(reply)
    return timeout === 0 ? Promise.reject(lockTimeout(0)) : Promise.resolve(toValue(locks))
  }
  const acquiring = new Acquiring(locks, request, how, toValue)
  core.expect(request, acquiring)
  // The time may be over by now, which takes back what is expected already.
  if (limits) acquiring.limit = limitWait(owner, request, limits, acquiring.reject)
  core.open(reply)
  return acquiring.promise
}

/** Takes the request back and rejects when the time is over or the signal fires, until the limit is lifted. */
function limitWait(owner, request, { timeout, signal }, reject) {
  let timer
  // Loaded when it is needed.
  const { offAbort, onAbort } = signal ? require('./aborts.js') : {}
  const lift = () => {
    clearTimeout(timer)
    if (signal) offAbort(signal, abort)
  }
  const end = (reason) => {
    lift()
    if (!core.forget(request)) return
    // Even if it was granted in this moment: the core gives back what nobody is told of.
    core.open(owner.native.cancel(request))
    reject(reason)
  }
  const abort = () => end(signal.reason)
  if (signal) onAbort(signal, abort)
  if (timeout > 0 && timeout < Infinity) {
    const deadline = performance.now() + timeout
    const wait = () => {
      const left = deadline - performance.now()
      if (left <= 0) end(lockTimeout(timeout))
      else timer = setTimeout(wait, Math.min(Math.ceil(left), LONGEST_TIMER))
    }
    wait()
  }
  return { timeout, lift }
}

/**
 * Runs `fn` while `hold` is held, then releases it. Rejects as soon as the hold is lost, whatever `fn` does.
 *
 * @param {Hold} hold taken with SCOPED
 * @param {((signal?: AbortSignal) => unknown) | undefined} fn
 * @param {boolean} withSignal whether `fn` is given the hold's signal
 */
function runHolding(hold, fn, withSignal) {
  // Lost before `fn` could begin.
  if (hold.error) return hold.release()
  return new Promise((resolve, reject) => {
    // Rejects, and nobody else is told of this loss any more.
    hold.whileHeld = () => void hold.release().catch(reject)
    const run = async () => (withSignal ? fn(hold.signal) : fn())
    const result = fn ? run() : Promise.resolve()
    result.then(
      (value) => hold.release().then(() => resolve(value), reject),
      (error) => hold.release().then(() => reject(error), () => reject(error)),
    )
  })
}

module.exports = { acquire, runHolding }
