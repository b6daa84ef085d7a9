'use strict'

const foreignErrors = require('./foreign-errors.js')

/** Every error of the core, of a time limit and of a closed client. A fresh instance each time. */
class AdvisoryLockError extends Error {
  /**
   * @param {{ code: string, message: string, address?: string, port?: number, severity?: string, detail?: string,
   *   hint?: string }} failure what happened
   * @param {Error} [cause] what led to it
   */
  constructor({ message, ...fields }, cause) {
    super(message, cause && { cause })
    // `code` and, where they are known, `address`, `port`, `severity`, `detail`, `hint`.
    for (const [name, value] of Object.entries(fields)) if (value !== undefined && value !== null) this[name] = value
  }
}
Object.defineProperty(AdvisoryLockError.prototype, 'name', { __proto__: null, value: 'AdvisoryLockError', configurable: true, writable: true })

/** Whether an error is this package's and has one of these codes, which anybody's may have. Never throws, whatever it is given. */
function isOurs(error, ...codes) {
  try {
    return error instanceof AdvisoryLockError && codes.includes(error.code)
  } catch {
    return false
  }
}

/** The error that the core describes: outermost first, then its causes. One of the caller's own code is that one itself. */
function fromFailures(failures) {
  return failures.reduceRight((cause, failure) => foreignErrors.get(failure.foreign) ?? new AdvisoryLockError(failure, cause), undefined)
}

/** The same error for one more caller, as the stack of an instance is one caller's. What is not of this package is passed on as it is. */
function another(error) {
  if (!(error instanceof AdvisoryLockError)) return error
  return new AdvisoryLockError({ ...error, message: error.message }, error.cause)
}

function clientClosed() {
  return new AdvisoryLockError({ code: 'ERR_CLIENT_CLOSED', message: 'the client is closed' })
}

/** @param {number} milliseconds @param {Error} [cause] why no server has said whether the lock is taken */
function lockTimeout(milliseconds, cause) {
  const what = cause ? 'the server has not answered' : 'the lock was not granted'
  return new AdvisoryLockError({ code: 'ERR_LOCK_TIMEOUT', message: `${what} within ${milliseconds} ms` }, cause)
}

function fencingUnavailable() {
  const message =
    'with transactionPooling a lock has no token and no fence: with a directConnectionString beside it, it has, and the fence may be sent through the pooler'
  return new AdvisoryLockError({ code: 'ERR_FENCING_UNAVAILABLE', message })
}

function semaphoreMismatch(here, elsewhere) {
  const message = `the semaphore has ${here} permits here and ${elsewhere} elsewhere`
  return new AdvisoryLockError({ code: 'ERR_SEMAPHORE_MISMATCH', message })
}

function notHeld() {
  return new AdvisoryLockError({ code: 'ERR_LOCK_LOST', message: 'the lock is not held any more: it was given up' })
}

function termOver(why) {
  return new AdvisoryLockError({ code: 'ERR_TERM_OVER', message: `the term is over: ${why}` })
}

function outOfNumbers() {
  return new AdvisoryLockError({ code: 'ERR_INTERNAL', message: 'this thread has made so many calls that there is no number for another one: start it anew' })
}

/** In the place of what a function threw that is no reason at all. */
function passwordFunctionFailed() {
  return new AdvisoryLockError({ code: 'ERR_PASSWORD_FUNCTION', message: 'the function that gives the password has failed, and does not say why' })
}

/** Node's own shape for an argument of a wrong type. The value is not repeated: it may be a secret in the wrong place. */
function invalidType(argument, expected, value) {
  const error = new TypeError(`${argument} must be ${expected}, got ${describe(value)}`)
  error.code = 'ERR_INVALID_ARG_TYPE'
  return error
}

/** The same for what a function of the caller's has returned. */
function invalidReturn(name, expected, value) {
  const error = new TypeError(`${name} must return ${expected}, returned ${describe(value)}`)
  error.code = 'ERR_INVALID_RETURN_VALUE'
  return error
}

/** The same for one of a right type that cannot be used. */
function invalidValue(message, options) {
  const error = new TypeError(message, options)
  error.code = 'ERR_INVALID_ARG_VALUE'
  return error
}

function outOfRange(argument, expected) {
  const error = new RangeError(`${argument} must be ${expected}`)
  error.code = 'ERR_OUT_OF_RANGE'
  return error
}

function describe(value) {
  if (value === null) return 'null'
  if (typeof value !== 'object') return `a value of type ${typeof value}`
  try {
    return Array.isArray(value) ? 'an array' : 'an object'
  } catch {
    // A proxy that is revoked says nothing.
    return 'an object'
  }
}

module.exports = {
  AdvisoryLockError,
  another,
  clientClosed,
  fencingUnavailable,
  fromFailures,
  invalidReturn,
  invalidType,
  invalidValue,
  isOurs,
  lockTimeout,
  notHeld,
  outOfNumbers,
  outOfRange,
  passwordFunctionFailed,
  semaphoreMismatch,
  termOver,
}
