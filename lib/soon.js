'use strict'

const { queueMicrotask } = globalThis
const resolved = Promise.resolve()

/**
 * Runs `fn` when the code that runs now has ended. A promise does it, as that is what no test runner replaces: timers,
 * `process.nextTick` and `queueMicrotask` may be those of a test. What `fn` throws is an uncaught exception, as from any emitter or
 * timer; in a test that has replaced `queueMicrotask` before this was loaded, it is thrown when the test has it run.
 */
function soon(fn) {
  resolved.then(() => {
    try {
      fn()
    } catch (error) {
      // Out of the promise, which would make an unhandled rejection of it.
      queueMicrotask(() => {
        throw error
      })
    }
  })
}

/** Throws what callers' code has thrown where it must not end what goes on. */
function throwSoon(error) {
  soon(() => {
    throw error
  })
}

module.exports = { soon, throwSoon }
