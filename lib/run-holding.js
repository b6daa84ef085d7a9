'use strict'

const { toAcquireOptions, toCallback, toFunction } = require('./arguments.js')
const { fencingOf } = require('./fencing.js')

/**
 * Runs `fn` while `hold` is held, then releases it. Rejects as soon as the hold is lost, whatever `fn` does.
 *
 * @param {import('./hold.js').Hold} hold taken with SCOPED
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

/** `withLock` of any kind of locks. */
async function withLock(locks, fn, options) {
  const callback = toCallback(fn)
  const limits = toAcquireOptions(options)
  const hold = await locks.takeHold(limits)
  const run = callback && limits?.fencing ? (signal) => callback(signal, toFenced(hold)) : callback
  return runHolding(hold, run, limits !== undefined)
}

/** What the function under a fenced hold is given besides the signal. */
const toFenced = (hold) => ({ ...fencingOf(hold), verify: async () => new Date(await hold.verify()) })

/** `tryWithLock` of any kind of locks. */
async function tryWithLock(locks, fn) {
  const callback = toFunction('fn', fn)
  const hold = await locks.tryTakeHold()
  return hold ? { acquired: true, value: await runHolding(hold, callback, true) } : { acquired: false }
}

module.exports = { tryWithLock, withLock }
