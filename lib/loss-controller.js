'use strict'

const isAborted = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted').get

/**
 * The controller of a signal that tells of a loss. Whoever goes on after a pause and asks `aborted`
 * or calls `throwIfAborted()` is told the truth, though this thread has had no turn to hear of it.
 *
 * @param {() => void} look finds out whether there is a loss, and aborts then
 */
function toLossController(look) {
  const controller = new AbortController()
  const { signal } = controller
  const get = () => {
    look()
    return isAborted.call(signal)
  }
  Object.defineProperty(signal, 'aborted', { get, configurable: true })
  const throwIfAborted = () => {
    if (get()) throw signal.reason
  }
  Object.defineProperty(signal, 'throwIfAborted', { value: throwIfAborted, configurable: true, writable: true })
  return controller
}

module.exports = { toLossController }
