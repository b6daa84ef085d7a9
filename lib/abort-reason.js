'use strict'

// What is asked of a signal beside its event. It may be a library's, which has no more than `aborted`.

/** What an abort rejects with. Signals of older libraries have no reason. */
function reasonOf(signal) {
  try {
    if (signal.reason !== undefined) return signal.reason
  } catch (error) {
    return error
  }
  return new DOMException('This operation was aborted', 'AbortError')
}

/** @param {AbortSignal} [signal] @throws its reason, if it is aborted */
function throwIfAborted(signal) {
  if (signal?.aborted) throw reasonOf(signal)
}

module.exports = { reasonOf, throwIfAborted }
