'use strict'

// Who uses which lock, made ready to be shown.

const { namesIn } = require('./held-names.js')
const { KeyNames } = require('./key-names.js')
const { isShown } = require('../semaphore-parts.js')

/**
 * One session's use of one lock, or that of a prepared transaction.
 *
 * @typedef {object} Use
 * @property {string | null} name
 * @property {string | null} part of the semaphore of that name
 * @property {[number, number] | string} key a pair, or the decimal digits of a single key
 * @property {boolean} granted whether it holds the lock; it waits otherwise
 * @property {'exclusive' | 'shared'} mode
 * @property {number | null} pid a prepared transaction has none
 * @property {string | null} application
 * @property {string | null} address
 * @property {string | null} waitingSince
 * @property {string | null} connectedSince
 * @property {number | null} age in milliseconds: of the wait, or of the session that holds the lock for no longer than that
 * @property {string | null} preparedTransaction its name
 * @property {string | null} terminate the statement that ends the session, or the prepared transaction
 * @property {boolean} isVisible whether this role may see what the session does
 */

/** Makes lists of what an overview finds, and remembers names from one to the next. */
class LockList {
  #given
  #names

  /** @param {string[]} names of the locks to be listed; none: all */
  constructor(names) {
    this.#given = names
    this.#names = new KeyNames(names)
  }

  /** @param {import('../../binding.js').LockUseData[]} found @returns {Use[]} */
  list(found) {
    for (const { comment } of found) namesIn(comment).forEach((said) => this.#names.learn(said))
    const uses = found.map((use) => toUse(use, this.#names.find(use))).filter((use) => this.#isListed(use))
    if (this.#given.length === 0) this.#names.keepOnly(found)
    return uses.sort(byName)
  }

  /** The given names of which nobody holds or awaits the lock. @param {Use[]} uses */
  free(uses) {
    return this.#given.filter((name) => !uses.some((use) => use.name === name))
  }

  #isListed({ name, part }) {
    // How many permits there are is told by locks too.
    if (part !== null && !isShown(part)) return false
    return this.#given.length === 0 || this.#given.includes(name)
  }
}

function toUse(found, called) {
  const { high, low, single, shared, granted, applicationName, clientAddress, waitingSince, connectedSince, time } = found
  const pid = found.pid ?? null
  const preparedTransaction = found.preparedTransaction ?? null
  const since = granted ? connectedSince : waitingSince
  return {
    name: called?.name ?? null,
    part: called?.part ?? null,
    key: single ? String(BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low >>> 0))) : [high, low],
    granted,
    mode: shared ? 'shared' : 'exclusive',
    pid,
    application: applicationName ?? null,
    address: clientAddress ?? null,
    waitingSince: toTime(waitingSince),
    connectedSince: toTime(connectedSince),
    age: typeof since === 'number' ? Math.max(0, time - since) : null,
    preparedTransaction,
    terminate: toEnding(pid, preparedTransaction),
    isVisible: found.visible,
  }
}

/** A prepared transaction whose name is not found has ended meanwhile. */
function toEnding(pid, preparedTransaction) {
  if (pid !== null) return `SELECT pg_terminate_backend(${pid});`
  return preparedTransaction === null ? null : `ROLLBACK PREPARED ${toLiteral(preparedTransaction)};`
}

/** A string as SQL has it, in characters that are safe on a terminal. */
function toLiteral(text) {
  const quoted = text.replaceAll("'", "''")
  if (/^[ -[\]-~]*$/.test(quoted)) return `'${quoted}'`
  const spelled = (character) => `\\U${character.codePointAt(0).toString(16).padStart(8, '0')}`
  return `E'${quoted.replace(/[^ -[\]-~]/gu, spelled)}'`
}

const toTime = (time) => (typeof time === 'number' ? new Date(time).toISOString() : null)

/** Those with a name first. The order is the server's otherwise: of each key who holds it first, then who waits longest. */
function byName(one, other) {
  if (one.name === null || other.name === null) return Number(one.name === null) - Number(other.name === null)
  const [a, b] = [one, other].map(({ name, part }) => `${name}\0${part?.replace(/\d+$/, (digits) => digits.padStart(4, '0')) ?? ''}`)
  return a < b ? -1 : Number(a > b)
}

module.exports = { LockList }
