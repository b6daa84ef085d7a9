'use strict'

// What the commands tell each other through the environment: which locks are held around a command.

const { hostname } = require('node:os')

/** For whoever wants to know. */
const NAME = 'ADVISORY_LOCK_NAME'
/** A list of all of them, for those who would wait for themselves. */
const HELD = 'ADVISORY_LOCK_HELD'
/** The system passes no variable that is much longer. */
const LONGEST_NAME = 32_768

/**
 * @typedef {object} Held
 * @property {[number, number]} key
 * @property {boolean} shared
 * @property {number} [permits] of the semaphore, where it is a permit of one
 * @property {number} pid of the process that holds it
 * @property {string} [session] its `application_name`, if the process has given it one
 */

/** @returns {Held[]} as the environment has it; nothing where that is not of our making */
function heldAround(environment) {
  try {
    const list = JSON.parse(environment[HELD])
    return list.filter(({ key, pid }) => Array.isArray(key) && Number.isInteger(pid) && pid > 0)
  } catch {
    return []
  }
}

/** The variables of a command that runs under a lock. */
function variablesUnder(name, held, environment) {
  const variables = { [HELD]: JSON.stringify([...heldAround(environment), held]) }
  if (Buffer.byteLength(name) <= LONGEST_NAME) variables[NAME] = name
  return variables
}

/**
 * The lock around this process that it would wait for: of the same key, by a process that lives, not shared by both, and
 * among those that the server names. The variables are inherited by whoever outlives the lock, so they alone prove nothing.
 * A permit is waited for in vain where all permits are held around this process.
 *
 * @param {{ key: [number, number], shared: boolean, permits?: number }} wanted
 * @param {() => Promise<import('../../index.js').LockHolder[]>} holders
 * @returns {Promise<Held | undefined>}
 */
async function heldByAncestor({ key, shared, permits }, environment, holders) {
  const isSame = (held) =>
    held.key[0] === key[0] && held.key[1] === key[1] && held.permits === permits && !(held.shared && shared) && lives(held.pid)
  const needed = permits ?? 1
  const candidates = heldAround(environment).filter(isSame)
  if (candidates.length < needed) return undefined
  const sessions = (await holders()).filter(({ granted }) => granted).map(({ applicationName }) => applicationName)
  const holding = candidates.filter(({ session }) => session === undefined || sessions.includes(session))
  return holding.length < needed ? undefined : holding[0]
}

function lives(pid) {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** A session's name that leads to this process, unless the user has given it one. */
function sessionName(program, { connectionString }, environment) {
  if (/application_name/i.test(connectionString) || environment.PGAPPNAME) return undefined
  // PostgreSQL cuts it after 63 bytes, and replaces what is not ASCII.
  return `${program} ${process.pid}@${hostname()}`.replace(/[^ -~]/g, '?').slice(0, 63)
}

module.exports = { heldByAncestor, sessionName, variablesUnder }
