'use strict'

// With NODE_DEBUG=advisory-lock: what is asked of the core and what comes of it, by name and key. The core itself tells of
// connections and statements. This file is loaded only then, and stands in the place of the core's classes and functions.

const { names, trace } = require('./notices.js')

/** Flags and kinds; that file is not there yet when this one is loaded. */
const core = () => require('./client.js')

/** What was asked, by request. */
const asked = new Map()
/** Of completions whose errors are still to be taken: what they say. */
const failing = []
/** Whether the mail that is opened next comes of a release. */
let isHandingOver = false

function describe(high, low, flags) {
  const { SHARED, SINGLE } = core()
  const key = flags & SINGLE ? `${BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low >>> 0))}n` : `[${high}, ${low}]`
  return `${key} ${flags & SHARED ? 'shared' : 'exclusively'}`
}

const line = (request, what) => `request ${request}: ${what} ${asked.get(request) ?? ''}`.trimEnd()
const say = (request, what) => trace(line(request, what))

/** The core's classes and functions, which tell what they are asked. */
function traced(native) {
  return { ...native, ...tracedCalls(native), Client: tracedClient(native.Client), Owner: tracedOwner(native.Owner) }
}

const tracedCalls = (native) => ({
  acquire(owner, high, low, flags, request) {
    const { NO, PATIENT, YES } = core()
    asked.set(request, describe(high, low, flags))
    say(request, flags & PATIENT ? 'lock' : 'try')
    const reply = native.acquire(owner, high, low, flags, request)
    if (reply & YES) say(request, 'granted at once')
    if (reply & NO) say(request, 'taken')
    return reply
  },

  release(owner, hold, ticket) {
    const { MAIL, NUMBER } = core()
    say(hold, 'unlock')
    asked.set(ticket, asked.get(hold))
    asked.delete(hold)
    const reply = native.release(owner, hold, ticket)
    if (reply >= NUMBER) say(Math.floor(reply / NUMBER), 'handed over')
    else isHandingOver = (reply & MAIL) !== 0
    return reply
  },
})

const tracedOwner = (Owner) =>
  class extends Owner {
    releaseLatest(high, low, flags, ticket) {
      asked.set(ticket, describe(high, low, flags))
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
      asked.set(ticket, describe(high, low, flags))
      say(ticket, 'ask who holds')
      return super.holders(high, low, flags, ticket)
    }

    close(ticket) {
      say(ticket, 'close')
      return super.close(ticket)
    }
  }

const tracedClient = (Client) =>
  class extends Client {
    drain(buffer) {
      const count = super.drain(buffer)
      const { NUMBERS } = core()
      for (let index = 0; index < count; index++) tell(buffer[NUMBERS * index], buffer[NUMBERS * index + 1])
      isHandingOver = false
      return count
    }

    takeFailure() {
      const failures = super.takeFailure()
      trace(`${failing.shift()}: ${failures[0]?.message} (${failures[0]?.code})`)
      return failures
    }
  }

function tell(request, kind) {
  const { CLOSED, DENIED, FAILED, GRANTED, HOLDERS, LOST, NOT_HELD, RELEASED, RELEASE_FAILED } = core()
  const fail = (what) => failing.push(line(request, what))
  if (kind === GRANTED) say(request, isHandingOver ? 'handed over' : 'granted')
  if (kind === DENIED) say(request, 'taken')
  if (kind === RELEASED) say(request, 'given up')
  if (kind === NOT_HELD) say(request, 'not held')
  if (kind === HOLDERS) say(request, 'holders of')
  if (kind === CLOSED) say(request, 'closed')
  if (kind === FAILED) fail('failed')
  if (kind === RELEASE_FAILED) fail('unlock failed')
  if (kind === LOST) fail('lost')
  if (kind !== GRANTED) asked.delete(request)
}

/** The same function from names to keys, which remembers names for the reader of the traces. */
function remembering(toKey) {
  return (name) => {
    const key = toKey(name)
    if (typeof name === 'string') names.set(`[${key.high}, ${key.low}]`, JSON.stringify(name))
    return key
  }
}

module.exports = { remembering, traced }
