'use strict'

// What a leader does at given times of the database's clock. Each tick belongs to whoever held the lock at that instant:
// it runs only once the session that holds has said, at a time not before the tick, that it still does, and only if
// the term began before the tick. So no two processes run one, whatever their clocks say and however long one is stopped.

const { isDate } = require('node:util').types
const { invalidReturn, outOfRange } = require('./errors.js')
const { pause } = require('./pause.js')

/** The server's clock is looked at so often at least, in milliseconds: clocks drift, and are set. */
const LOOK_INTERVAL = 60_000
/** Between two looks where the first could not be had, in milliseconds. */
const MIN_RETRY_INTERVAL = 50
const MAX_RETRY_INTERVAL = 1000

/**
 * The times at which something is due.
 *
 * @typedef {object} Times
 * @property {(after: number) => number} next the first after this one
 * @property {(time: number, due: number) => number} latest the latest until `time`, not before `due`, which is one
 */

/** The multiples of `ms` since 1970. @returns {Times} */
function multiplesOf(ms) {
  return {
    next: (after) => (Math.floor(after / ms) + 1) * ms,
    latest: (time) => Math.floor(time / ms) * ms,
  }
}

/** The times that `next` gives. @param {(after: Date) => Date} next @returns {Times} */
function givenBy(next) {
  const nextAfter = (after) => {
    const date = next(new Date(after))
    if (!isDate(date) || Number.isNaN(date.getTime())) throw invalidReturn('next', 'a valid Date', date)
    if (date.getTime() <= Math.floor(after)) throw outOfRange('what next returns', 'a later time than it was given')
    return date.getTime()
  }
  const latest = (time, due) => {
    for (let following = due; following <= time; following = nextAfter(due)) due = following
    return due
  }
  return { next: nextAfter, latest }
}

/**
 * Runs `fn` at each of these times, as long as the term lasts.
 *
 * A time that passes while `fn` still runs is skipped; of several that pass while the process is stopped or busy the latest is
 * run, late. They may pass between the answer of the server and the begin of `fn` as well.
 *
 * @param {import('./term.js').Term} term
 * @param {Times} times
 * @param {number} due the first of them, after the term's election
 * @param {(tick: Date) => unknown} fn
 * @param {(error: unknown) => void} onError is told what `fn` throws, and why the server could not be asked
 */
async function runAt(term, times, due, fn, onError) {
  const { clock, signal } = term
  /** When `fn` has ended last. */
  let ended = -Infinity
  while (!signal.aborted) {
    await pause(Math.min(due - clock.now(), LOOK_INTERVAL), signal)
    const time = await verify(term, onError)
    if (time === undefined || signal.aborted) return
    if (time < due) continue
    const tick = latestOf(times, due, ended, time)
    const begun = clock.now()
    try {
      await fn(new Date(tick))
    } catch (error) {
      onError(error)
    }
    ended = clock.now()
    const missed = times.latest(begun, tick)
    due = missed > tick ? missed : times.next(Math.max(tick, ended))
  }
}

/** The latest until `time`, not before `due`, that has not passed while `fn` ran. */
function latestOf(times, due, ended, time) {
  if (due > ended) return times.latest(time, due)
  const following = times.next(ended)
  return following > time ? due : times.latest(time, following)
}

/** The server's time, at which the lock was held; `undefined`: the term is over. */
async function verify(term, onError) {
  for (let interval = MIN_RETRY_INTERVAL; !term.signal.aborted; interval = Math.min(2 * interval, MAX_RETRY_INTERVAL)) {
    try {
      return await term.verify()
    } catch (error) {
      if (term.isOver) return undefined
      if (interval === MIN_RETRY_INTERVAL) onError(error)
    }
    await pause(interval, term.signal)
  }
}

module.exports = { givenBy, multiplesOf, runAt }
