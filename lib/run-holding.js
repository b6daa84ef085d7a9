'use strict'

const { toAcquireOptions, toCallback, toFunction } = require('./arguments.js')

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
  return runHolding(await locks.takeHold(limits), callback, limits !== undefined)
}

/** `tryWithLock` of any kind of locks. */
async function tryWithLock(locks, fn) {
  const callback = toFunction('fn', fn)
  const hold = await locks.tryTakeHold()
  return hold ? { acquired: true, value: await runHolding(hold, callback, true) } : { acquired: false }
}

module.exports = { tryWithLock, withLock }
