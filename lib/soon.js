'use strict'

const resolved = Promise.resolve()

/**
 * Runs `fn` when the code that runs now has ended. A promise does it, as that is what no test runner replaces: timers and
 * `process.nextTick` may be those of a test. What `fn` throws is an unhandled rejection.
 */
function soon(fn) {
  resolved.then(fn)
}

module.exports = { soon }
