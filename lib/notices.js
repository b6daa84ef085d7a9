'use strict'

// What the core tells besides answers: warnings, what becomes of connections, and with NODE_DEBUG=advisory-lock what happens.

const { debuglog } = require('node:util')
const { tellSession } = require('./diagnostics.js')
const { fromFailures } = require('./errors.js')

const log = debuglog('advisory-lock')

/** Whether anybody wants to know what happens. Decided once: nothing is in the way of a call otherwise. */
const isTracing = log.enabled === true

/** Most names that are remembered. */
const MOST_NAMES = 10_000
/** Names by the key as the core prints it. Filled only while somebody wants to know what happens. */
const names = new Map()
const KEYS = /\[-?\d+, -?\d+\]|-?\d+n\b/g

/** Remembers the name of a key; the oldest are forgotten. */
function rememberName(key, name) {
  names.delete(key)
  names.set(key, name)
  if (names.size > MOST_NAMES) names.delete(names.keys().next().value)
}

/** Never throws: standard error may be closed, and what is traced has happened. */
function trace(message) {
  try {
    log('%s', message.replace(KEYS, (key) => (names.has(key) ? `${names.get(key)} ${key}` : key)))
  } catch {
    // There is nobody left to tell.
  }
}

/** @param {string} code of a warning; none: something that happens @param {string} message */
function onNotice(code, message) {
  if (code === '') trace(message)
  else process.emitWarning(message, { type: 'AdvisoryLockWarning', code })
}

/** @see tellSession */
function onSession(event, pid, address, port, failures) {
  tellSession(event, pid, address, port, () => fromFailures(failures))
}

module.exports = { isTracing, onNotice, onSession, rememberName, trace }
