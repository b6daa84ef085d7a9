'use strict'

const getter = (name) => Object.getOwnPropertyDescriptor(AbortSignal.prototype, name).get
const isAborted = getter('aborted')
const reasonOf = getter('reason')

/**
 * The controller of a signal that tells of a loss. Whoever goes on after a pause and asks `aborted` or `reason`, or calls
 * `throwIfAborted()`, is told the truth, though this thread has had no turn to hear of it, and though others are to be told first.
 *
 * @param {() => Error | undefined} look finds out why it is lost; it is aborted by and by then, if it is not yet
 * @returns {{ signal: AbortSignal, abort(reason: unknown): void }}
 */
function toLossController(look) {
  const controller = new AbortController()
  const { signal } = controller
  let isAborting = false
  const lost = () => (isAborting || isAborted.call(signal) ? undefined : look())
  const aborted = () => lost() !== undefined || isAborted.call(signal)
  const reason = () => {
    const error = lost()
    return isAborted.call(signal) ? reasonOf.call(signal) : error
  }
  const throwIfAborted = () => {
    if (aborted()) throw reason()
  }
  // Descriptors inherit nothing: some libraries add to `Object.prototype`, and then they would be invalid or mean something else.
  Object.defineProperty(signal, 'aborted', { __proto__: null, get: aborted, configurable: true })
  Object.defineProperty(signal, 'reason', { __proto__: null, get: reason, configurable: true })
  Object.defineProperty(signal, 'throwIfAborted', { __proto__: null, value: throwIfAborted, configurable: true, writable: true })
  const abort = (cause) => {
    // Deno's own asks the signal whether that was done already.
    isAborting = true
    controller.abort(cause)
    isAborting = false
  }
  return { signal, abort }
}

module.exports = { toLossController }
