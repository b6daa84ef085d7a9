'use strict'

// What `node:diagnostics_channel` tells of locks. Nothing is made where nobody subscribes: `acquire` asks whether somebody does.
//
// A lock that is asked for and one that is held are each traced as a promise is. So subscribers run in the asynchronous context of
// the caller, whoever brings the news.

const { channel, tracingChannel } = require('node:diagnostics_channel')
const { isOurs } = require('./errors.js')
const { soon } = require('./soon.js')

const acquiring = tracingChannel('advisory-lock:acquire')
const holding = tracingChannel('advisory-lock:hold')
const lost = channel('advisory-lock:lost')
const elected = channel('advisory-lock:elected')
const session = channel('advisory-lock:session')

/** Holds that are traced: what is to be called at their end. @type {Map<Hold, () => void>} */
const traced = new Map()

/** Whether anybody subscribes to one of its channels. Node.js 20 has no such property of its own from the start. */
const isFollowed = ({ start, end, asyncStart, asyncEnd, error }) =>
  start.hasSubscribers || asyncEnd.hasSubscribers || error.hasSubscribers || end.hasSubscribers || asyncStart.hasSubscribers

/** Whether an acquire is to be asked for by {@link traceAcquire}. */
const isTracing = () => isFollowed(acquiring) || isFollowed(holding)

/**
 * Asks for a lock, and tells of it and of its hold.
 *
 * @template T
 * @param {{ name: string | null, key: unknown, mode: string }} subject
 * @param {{ signal?: AbortSignal } | undefined} limits
 * @param {(onGranted: (hold: Hold) => void) => Promise<T>} ask is told what to call with the hold, if there is one
 * @returns {Promise<T>}
 *
 * @typedef {import('./hold.js').Hold | import('./several.js').HoldOfSeveral} Hold
 */
function traceAcquire(subject, limits, ask) {
  const context = { ...subject, waited: undefined, outcome: undefined }
  const since = performance.now()
  let hold
  const note = (outcome) => {
    context.waited = performance.now() - since
    context.outcome = outcome
  }
  const run = async () => {
    try {
      const value = await ask((granted) => (hold = granted))
      note(hold ? 'granted' : 'denied')
      return value
    } catch (error) {
      note(outcomeOf(error, limits))
      throw error
    }
  }
  // Outside of what is bound to the acquire, which is over then.
  return acquiring.tracePromise(run, context).then((value) => {
    if (hold && isFollowed(holding)) traceHold(subject, context.waited, hold)
    return value
  })
}

function outcomeOf(error, limits) {
  if (isAbort(error, limits?.signal)) return 'aborted'
  return isOurs(error, 'ERR_LOCK_TIMEOUT') ? 'timeout' : 'failed'
}

/** Whether a call has ended with this error because of its signal. Either may fail when it is read. */
function isAbort(error, signal) {
  try {
    return signal?.aborted === true && (error === signal.reason || error?.name === 'AbortError')
  } catch {
    return false
  }
}

/**
 * Has a hold taken by several steps, and tells those who trace locks once all of them are done.
 *
 * @param {{ describe(): object }} locks
 * @param {{ signal?: AbortSignal } | undefined} limits
 * @param {() => Promise<Hold | undefined>} take
 */
function traceTaking(locks, limits, take) {
  if (!isTracing()) return take()
  return traceAcquire(locks.describe(), limits, async (onGranted) => {
    const hold = await take()
    if (hold) onGranted(hold)
    return hold
  })
}

/** Tells of a hold until it is given up or lost. */
function traceHold(subject, waited, hold) {
  const context = { ...subject, waited, held: undefined, outcome: undefined }
  const since = performance.now()
  const end = async () => {
    if (hold.error) throw hold.error
    // It was asked for already. Where the server knows of no such lock, this tells.
    await hold.release()
  }
  const run = () =>
    new Promise((resolve, reject) => {
      const finish = (outcome, settle) => (value) => {
        context.outcome = outcome
        settle(value)
      }
      const onOver = () => {
        context.held = performance.now() - since
        // Not before whoever ends the hold has done so.
        soon(() => void end().then(finish('released', resolve), finish('lost', reject)))
      }
      if (hold.isOver || hold.error) onOver()
      else traced.set(hold, onOver)
    })
  // The error has been told, by the channel.
  holding.tracePromise(run, context).catch(() => {})
}

/** Tells those who trace it that a hold is over. @param {Hold} hold */
function tellOver(hold) {
  if (traced.size === 0) return
  const onOver = traced.get(hold)
  traced.delete(hold)
  onOver?.()
}

/** Tells of a hold that was lost. */
function tellLost(locks, error) {
  if (lost.hasSubscribers && locks.name !== undefined) lost.publish({ ...locks.describe(), error })
}

/** Tells that this process leads. */
function tellElected(locks, term) {
  if (elected.hasSubscribers) elected.publish({ ...locks.describe(), term })
}

/**
 * Tells what becomes of a connection.
 *
 * @param {'opened' | 'closed' | 'lost' | 'failed'} event
 * @param {number | undefined} pid of its backend
 * @param {string | undefined} address
 * @param {number | undefined} port
 * @param {() => Error | undefined} toError
 */
function tellSession(event, pid, address, port, toError) {
  if (!session.hasSubscribers) return
  session.publish({ event, pid: pid ?? null, address: address ?? null, port: port ?? null, error: toError() ?? null })
}

module.exports = { isTracing, tellElected, tellLost, tellOver, tellSession, traceAcquire, traceTaking }
