'use strict'

/** By signal: who is told when it is aborted. Many calls may share a signal; Node warns of many listeners on one. */
const listenersOf = new WeakMap()

/**
 * Calls `listener` when `signal` is aborted.
 *
 * @param {AbortSignal} signal not aborted yet
 * @param {() => void} listener
 */
function onAbort(signal, listener) {
  let known = listenersOf.get(signal)
  if (!known) {
    const all = new Set()
    known = { all, tell: () => all.forEach((one) => one()) }
    // Whatever calls itself a signal may fail here, and then nothing is to be remembered.
    signal.addEventListener('abort', known.tell, { once: true })
    listenersOf.set(signal, known)
  }
  known.all.add(listener)
}

/** Takes back {@link onAbort}. */
function offAbort(signal, listener) {
  const known = listenersOf.get(signal)
  if (!known?.all.delete(listener) || known.all.size > 0) return
  listenersOf.delete(signal)
  try {
    signal.removeEventListener('abort', known.tell)
  } catch {
    // It keeps a listener that does nothing any more.
  }
}

module.exports = { offAbort, onAbort }
