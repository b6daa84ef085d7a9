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
 * @property {string[]} [sessions] those that held the lock at its grant otherwise: the process's own is among them
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
  const found = (await holders()).filter(({ granted }) => granted)
  const holding = candidates.filter((held) => found.some((holder) => isOf(held, holder)))
  return holding.length < needed ? undefined : holding[0]
}

function isOf({ session, sessions }, holder) {
  if (session !== undefined) return holder.applicationName === session
  return Array.isArray(sessions) && sessions.includes(identityOf(holder))
}

/** No two sessions have it in common, on whichever servers. */
const identityOf = ({ pid, connectedSince }) => `${pid} ${connectedSince?.getTime()}`

/** So many sessions are told of; one's own is among the youngest. */
const MOST_SESSIONS = 20

/**
 * The sessions that hold a lock at this moment, for {@link Held.sessions}; none where the server does not tell.
 *
 * @param {() => Promise<import('../../index.js').LockHolder[]>} holders
 */
async function holdingSessions(holders) {
  const found = await holders().catch(() => [])
  const holding = found.filter(({ granted, connectedSince }) => granted && connectedSince)
  return holding.sort((one, other) => other.connectedSince - one.connectedSince).slice(0, MOST_SESSIONS).map(identityOf)
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

module.exports = { heldByAncestor, holdingSessions, sessionName, variablesUnder }
