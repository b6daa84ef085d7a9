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
  const known = listenersOf.get(signal)
  if (known) return void known.all.add(listener)
  const all = new Set([listener])
  const tell = () => all.forEach((one) => one())
  listenersOf.set(signal, { all, tell })
  try {
    signal.addEventListener('abort', tell, { once: true })
  } catch (error) {
    // Whatever calls itself a signal may fail.
    listenersOf.delete(signal)
    throw error
  }
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
