'use strict'

// With NODE_DEBUG=advisory-lock: what is asked of the core and what comes of it, by name and key. The core itself tells of
// connections and statements. This file is loaded only then, and stands in the place of the core's classes and functions.

const { rememberName, trace } = require('./notices.js')

/** What was asked, by request; until it is answered, or what it was granted is given up. */
const asked = new Map()
/** Of completions whose errors are still to be taken: what they say. */
const failing = []
/** Whether the mail that is opened next comes of a release. */
let isHandingOver = false

const line = (request, what) => `request ${request}: ${what} ${asked.get(request) ?? ''}`.trimEnd()
const say = (request, what) => trace(line(request, what))

/** The core's classes and functions, which tell what they are asked. */
function traced(native) {
  return { ...native, ...tracedCalls(native), Client: tracedClient(native), Owner: tracedOwner(native) }
}

function describe({ SHARED, SINGLE }, high, low, flags) {
  const key = flags & SINGLE ? `${BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low >>> 0))}n` : `[${high}, ${low}]`
  return `${key} ${flags & SHARED ? 'shared' : 'exclusively'}`
}

const tracedCalls = (native) => ({
  acquire(owner, high, low, flags, request) {
    asked.set(request, describe(native, high, low, flags))
    say(request, flags & native.PATIENT ? 'lock' : 'try')
    const reply = native.acquire(owner, high, low, flags, request)
    if (reply & native.YES) say(request, 'granted at once')
    if (reply & native.NO) {
      say(request, 'taken')
      asked.delete(request)
    }
    return reply
  },

  release(owner, hold, ticket) {
    say(hold, 'unlock')
    const what = asked.get(hold)
    asked.delete(hold)
    const reply = native.release(owner, hold, ticket)
    if (reply >= native.GRANT_FACTOR) say(Math.floor(reply / native.GRANT_FACTOR), 'handed over')
    else isHandingOver = (reply & native.MAIL) !== 0
    // An answer that comes later says of what.
    if ((reply & (native.YES | native.NO)) === native.PENDING) asked.set(ticket, what)
    return reply
  },
})

const tracedOwner = (native) =>
  class extends native.Owner {
    releaseLatest(high, low, flags, ticket) {
      asked.set(ticket, describe(native, high, low, flags))
      say(ticket, 'unlock the latest')
      const reply = super.releaseLatest(high, low, flags, ticket)
      isHandingOver = true
      return reply
    }

    cancel(request) {
      say(request, 'give up')
      asked.delete(request)
      return super.cancel(request)
    }

    holders(high, low, flags, ticket) {
      asked.set(ticket, describe(native, high, low, flags))
      say(ticket, 'ask who holds')
      return super.holders(high, low, flags, ticket)
    }

    fence(hold, ticket) {
      asked.set(ticket, asked.get(hold))
      say(ticket, 'fence')
      return super.fence(hold, ticket)
    }

    verify(hold, ticket) {
      asked.set(ticket, asked.get(hold))
      say(ticket, 'verify')
      return super.verify(hold, ticket)
    }

    close(ticket) {
      say(ticket, 'close')
      return super.close(ticket)
    }
  }

const tracedClient = (native) =>
  class extends native.Client {
    drain(buffer) {
      const count = super.drain(buffer)
      const { FIELDS } = native
      for (let index = 0; index < count * FIELDS; index += FIELDS) tell(native, buffer[index], buffer[index + 1], buffer[index + 2])
      isHandingOver = false
      return count
    }

    takeFailure() {
      const failures = super.takeFailure()
      trace(`${failing.shift()}: ${failures[0]?.message} (${failures[0]?.code})`)
      return failures
    }
  }

/** @param {number} detail the hold that a release has given up */
function tell(native, request, kind, detail) {
  const fail = (what) => failing.push(line(request, what))
  if (kind === native.GRANTED) say(request, isHandingOver ? 'handed over' : 'granted')
  if (kind === native.DENIED) say(request, 'taken')
  if (kind === native.RELEASED) say(request, 'given up')
  if (kind === native.NOT_HELD) say(request, 'not held')
  if (kind === native.HOLDERS) say(request, 'holders of')
  if (kind === native.VERIFIED) say(request, 'verified')
  if (kind === native.FENCED) say(request, 'fenced')
  if (kind === native.CLOSED) say(request, 'closed')
  if (kind === native.FAILED) fail('failed')
  if (kind === native.RELEASE_FAILED) fail('unlock failed')
  if (kind === native.LOST) fail('lost')
  if (kind !== native.GRANTED) asked.delete(request)
  if (kind === native.RELEASED || kind === native.RELEASE_FAILED) asked.delete(detail)
}

/** The same function from names to keys, which remembers names for the reader of the traces. */
function remembering(toKey) {
  return (name, isPublished) => {
    const key = toKey(name, isPublished)
    if (typeof name === 'string') rememberName(`[${key.high}, ${key.low}]`, JSON.stringify(name))
    return key
  }
}

module.exports = { remembering, traced }
