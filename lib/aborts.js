'use strict'

/** By signal: who is told when it is aborted. Many calls may share a signal; Node warns of many listeners on one. */
const listeners = new WeakMap()

/**
 * Calls `listener` when `signal` is aborted.
 *
 * @param {AbortSignal} signal not aborted yet
 * @param {() => void} listener
 */
function onAbort(signal, listener) {
  let told = listeners.get(signal)
  if (!told) {
    const all = new Set()
    told = { all, tell: () => all.forEach((one) => one()) }
    listeners.set(signal, told)
    signal.addEventListener('abort', told.tell, { once: true })
  }
  told.all.add(listener)
}

/** Takes back {@link onAbort}. */
function offAbort(signal, listener) {
  const told = listeners.get(signal)
  if (!told?.all.delete(listener) || told.all.size > 0) return
  listeners.delete(signal)
  signal.removeEventListener('abort', told.tell)
}

module.exports = { offAbort, onAbort }
