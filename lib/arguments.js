'use strict'

const { invalidType, invalidValue, outOfRange } = require('./errors.js')
const native = require('./native.js')
const { isTracing } = require('./notices.js')

const MAX_INT32 = 2 ** 31 - 1

function strToKey(name) {
  return toHalves(name, false)
}

/** @param {boolean} isPublished whether the name may be told in the database while the key is held */
function toHalves(name, isPublished) {
  if (typeof name !== 'string') throw invalidType('name', 'a string', name)
  return native.keyOfName(name, isPublished)
}

/**
 * The key that a mutex's name stands for: two halves, and a flag for the key space of single keys. It has room for the name.
 *
 * @returns {import('./mutex.js').Key}
 */
function toKey(name, isPublished = false) {
  if (typeof name === 'bigint') {
    if (BigInt.asIntN(64, name) !== name) throw outOfRange('name', 'a bigint from -2n ** 63n to 2n ** 63n - 1n')
    return { high: Number(name >> 32n), low: Number(BigInt.asIntN(32, name)), flags: native.SINGLE, name: undefined }
  }
  const halves = typeof name === 'string' ? toHalves(name, isPublished) : toPair(name)
  return { high: halves[0], low: halves[1], flags: 0, name: undefined }
}

function toPair(name) {
  if (!Array.isArray(name) || name.length !== 2) throw invalidType('name', 'a string, [key1, key2] or a bigint', name)
  return Array.from(name, (half, index) => integer(`name[${index}]`, half, -MAX_INT32 - 1, MAX_INT32))
}

const MOST_NAMES = 1000

/** The keys of a list of names in their order, each of them once. */
function toKeys(names, isPublished) {
  if (!Array.isArray(names)) throw invalidType('names', 'an array of names', names)
  if (names.length === 0 || names.length > MOST_NAMES) throw outOfRange('names', `a list of 1 to ${MOST_NAMES} names`)
  const keys = new Map()
  for (const key of Array.from(names, (name) => toKey(name, isPublished))) keys.set(`${key.flags} ${key.high} ${key.low}`, key)
  return [...keys.values()].sort((a, b) => a.flags - b.flags || a.high - b.high || a.low - b.low)
}

const MOST_PERMITS = 1000

function toPermits(permits) {
  return integer('permits', permits, 1, MOST_PERMITS)
}

function integer(argument, value, least, most) {
  if (typeof value !== 'number') throw invalidType(argument, 'a number', value)
  if (!Number.isInteger(value) || value < least || value > most) {
    throw outOfRange(argument, `an integer from ${least} to ${most}`)
  }
  return value
}

function known(argument, options, names) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidType(argument, 'an object', options)
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) {
      throw invalidValue(`${argument} has no ${JSON.stringify(name)}; there is ${names.join(', ')}`)
    }
  }
}

/** What the server is told by it still fits its own limits. */
const MAX_ANSWER_TIMEOUT = 600_000

const LOCKS_OPTIONS = [
  ...['maxWaitConnections', 'idleTimeout', 'connectTimeout', 'applicationName', 'heartbeat', 'answerTimeout'],
  ...['transactionPooling', 'directConnectionString', 'maxPinnedConnections', 'publishNames'],
]

/** The options of `advisoryLock`, complete; `defaults` where a contract has its own. */
function toLocksOptions(options = {}, defaults = {}) {
  known('options', options, LOCKS_OPTIONS)
  const { applicationName, transactionPooling, directConnectionString, publishNames = true } = options
  if (applicationName !== undefined && typeof applicationName !== 'string') {
    throw invalidType('options.applicationName', 'a string', applicationName)
  }
  if (applicationName?.includes('\0')) throw invalidValue('options.applicationName has a null character, which no text of PostgreSQL has')
  if (transactionPooling !== undefined && typeof transactionPooling !== 'boolean') {
    throw invalidType('options.transactionPooling', 'a boolean', transactionPooling)
  }
  if (directConnectionString !== undefined) {
    if (typeof directConnectionString !== 'string') throw invalidType('options.directConnectionString', 'a string', directConnectionString)
    if (transactionPooling === false) throw invalidValue('options.directConnectionString goes with transactionPooling only')
    if (options.maxPinnedConnections !== undefined) {
      throw invalidValue('options.maxPinnedConnections does not go with directConnectionString: no lock is held through the pooler there')
    }
  } else if (transactionPooling && options.maxWaitConnections !== undefined) {
    throw invalidValue('options.maxWaitConnections does not go with transactionPooling: no connection waits at the server there')
  }
  if (transactionPooling === false && options.maxPinnedConnections !== undefined) {
    throw invalidValue('options.maxPinnedConnections goes with transactionPooling only')
  }
  if (typeof publishNames !== 'boolean') throw invalidType('options.publishNames', 'a boolean', publishNames)
  const number = (name, least, most, fallback) =>
    options[name] === undefined ? fallback : integer(`options.${name}`, options[name], least, most)
  return {
    maxWaitConnections: number('maxWaitConnections', 0, 1000, 8),
    transactionPooling,
    directConnectionString,
    maxPinnedConnections: number('maxPinnedConnections', 1, 1000, 8),
    idleTimeout: number('idleTimeout', 0, MAX_INT32, defaults.idleTimeout ?? 10_000),
    connectTimeout: number('connectTimeout', 1, MAX_INT32, undefined),
    applicationName,
    heartbeat: number('heartbeat', 100, MAX_INT32, 3000),
    answerTimeout: number('answerTimeout', 100, MAX_ANSWER_TIMEOUT, 5000),
    publishNames,
  }
}

/** The limits of one acquire; `undefined` where none were given. */
function toAcquireOptions(options) {
  if (options === undefined) return undefined
  known('options', options, ['timeout', 'signal', 'fencing'])
  const { timeout = Infinity } = options
  if (typeof timeout !== 'number') throw invalidType('options.timeout', 'a number', timeout)
  if (!(timeout >= 0)) throw outOfRange('options.timeout', 'a number of milliseconds, 0 or more')
  return { timeout, signal: toSignal(options), fencing: toFencing(options) }
}

function toFencing({ fencing = false }) {
  if (typeof fencing !== 'boolean') throw invalidType('options.fencing', 'a boolean', fencing)
  return fencing
}

/** As Node.js recognises it: the signal may be another realm's, or a library's. */
function toSignal({ signal }) {
  if (signal !== undefined && (typeof signal !== 'object' || signal === null || !('aborted' in signal))) {
    throw invalidType('options.signal', 'an AbortSignal', signal)
  }
  return signal
}

function toCallback(fn) {
  if (fn !== undefined && fn !== null && typeof fn !== 'function') throw invalidType('fn', 'a function', fn)
  return fn ?? undefined
}

function toFunction(argument, value) {
  if (typeof value !== 'function') throw invalidType(argument, 'a function', value)
  return value
}

/** The options of `elect`, complete. */
function toElectionOptions(options = {}) {
  known('options', options, ['signal', 'backoff', 'settle', 'fencing'])
  const { backoff = {}, settle = 0 } = options
  return {
    signal: toSignal(options),
    backoff: toBackoff(backoff),
    settle: integer('options.settle', settle, 0, MAX_INT32),
    fencing: toFencing(options),
  }
}

/** Where one of the two is given, the other's default makes way for it. */
function toBackoff(backoff) {
  known('options.backoff', backoff, ['min', 'max'])
  const given = (name) =>
    backoff[name] === undefined ? undefined : integer(`options.backoff.${name}`, backoff[name], 1, MAX_INT32)
  const [min, max] = [given('min'), given('max')]
  if (min > max) throw outOfRange('options.backoff.max', 'no less than options.backoff.min')
  return { min: min ?? Math.min(250, max ?? Infinity), max: max ?? Math.max(30_000, min ?? 0) }
}

/** Milliseconds between the ticks of a leader. */
function toInterval(ms) {
  return integer('ms', ms, 1, Number.MAX_SAFE_INTEGER)
}

module.exports = {
  strToKey,
  toAcquireOptions,
  toCallback,
  toElectionOptions,
  toFunction,
  toInterval,
  toKeys,
  toPermits,
  toKey: isTracing ? require('./trace.js').remembering(toKey) : toKey,
  toLocksOptions,
}
