'use strict'

// The JavaScript side of src/binding, one per thread: numbers requests, hands their completions out, and keeps the process
// alive while a call is pending. Nothing of it is seen from outside (no handle, no timer) before the first call.

const native = require('./native.js')
const { ByNumber } = require('./by-number.js')
const { fromFailures } = require('./errors.js')
const { isTracing, onNotice, onSession } = require('./notices.js')
const passwords = require('./passwords.js')
const { RequestNumbers } = require('./request-numbers.js')
const { soon, throwSoon } = require('./soon.js')

const { FAILED, FENCED, FIELDS, GRANTED, GRANT_FACTOR, HOLDERS, LOST, MAIL, PASSWORD_WANTED, RELEASE_FAILED, UNSENT } = native

/** What waits for a completion, by request: `{ settle(kind, detail, error, data) }`; the detail is a hold or a time. */
const pending = new ByNumber()
/** Holds by the request that they came from. */
const holds = new ByNumber()

const numbers = new RequestNumbers()
const newNumber = () => numbers.next()
const newNumberOfAcquire = () => numbers.nextOfAcquire()

/**
 * Whether this thread may read answers by itself, told by its event loop; otherwise the core's own thread reads them. Bun and Deno
 * have other event loops, with functions by the same names that end the process.
 */
const canAttend = !process.versions.bun && !process.versions.deno && !process.env.ADVISORY_LOCK_NO_ATTENDING

/** The core's side; made for the first call. */
let client
const toClient = () => (client ??= new native.Client(deliver, onNotice, onSession, isTracing, canAttend))

let references = 0

/** Keeps the process alive until {@link unrefProcess} has been called as often. */
function refProcess() {
  if (references++ === 0) toClient().keepAlive(true)
}

function unrefProcess() {
  if (--references === 0) client.keepAlive(false)
}

/** Settles `call` by the completion of `request`; the process stays alive until then. */
function expect(request, call) {
  pending.set(request, call)
  refProcess()
}

/** Does not wait for `request` any more; whether it was waited for. */
function forget(request) {
  const known = pending.delete(request)
  if (known) unrefProcess()
  return known
}

const ROOM = 512
const buffer = new Float64Array(ROOM * FIELDS)
let isTaking = false
let hasMore = false
/** What callers' code is to be told of. It may call locks, and then meets all that the mail says, not what was before it alone. */
const news = []
let isTelling = false

/** Completes what lies in the mailbox, and tells callers' code what it is to know. Never throws. */
function deliver() {
  take()
  tellNews()
}

function take() {
  // What a completion calls may bring mail, which this loop takes out as well.
  hasMore = true
  if (isTaking) return
  isTaking = true
  while (hasMore) {
    const count = client.drain(buffer)
    hasMore = count === ROOM
    for (let index = 0; index < count * FIELDS; index += FIELDS) complete(buffer[index], buffer[index + 1], buffer[index + 2])
  }
  isTaking = false
}

/** Calls what calls callers' code: at once, but for the mail and the news that are under way. */
function tell(inform) {
  news.push(inform)
  tellNews()
}

function tellNews() {
  if (isTaking || isTelling) return
  isTelling = true
  for (let next = 0; next < news.length; next++) {
    try {
      news[next]()
    } catch (error) {
      throwSoon(error)
    }
  }
  news.length = 0
  isTelling = false
}

/** Does what a completion asks for. What fails in it is told for itself: the rest of the mail is others'. */
function complete(request, kind, detail) {
  try {
    settle(request, kind, detail)
  } catch (error) {
    throwSoon(error)
  }
}

function settle(request, kind, detail) {
  if (kind === PASSWORD_WANTED) return tell(() => passwords.answer(request, detail))
  // Taken even if nobody wants it, to stay in step.
  const error = kind === FAILED || kind === RELEASE_FAILED || kind === LOST ? fromFailures(client.takeFailure()) : undefined
  if (kind === LOST) {
    const lost = holds.get(request)
    holds.delete(request)
    lost?.lose(error)
    return
  }
  const data = kind === HOLDERS ? client.takeHolders() : kind === FENCED ? client.takeFenced() : undefined
  const call = pending.get(request)
  if (forget(request)) call.settle(kind, detail, error, data)
}

let isSending = false

/** Sends at the end of this turn what its calls have left to be sent: one statement for all of them. */
function sendLater() {
  if (isSending) return
  isSending = true
  soon(send)
}

function send() {
  isSending = false
  client.send()
}

/** Sees to the mail that a reply announces or brings, and to what is to be sent. Never throws. */
function open(reply) {
  if (reply & UNSENT) sendLater()
  if (reply >= GRANT_FACTOR) complete(Math.floor(reply / GRANT_FACTOR), GRANTED)
  else if (reply & MAIL) deliver()
}

/**
 * Makes a call that is always answered by mail: the promise of the answer.
 *
 * @param {import('./call.js').Call} call
 * @param {(ticket: number) => number} make gives the core the ticket, and gets its reply
 */
function ask(call, make) {
  const ticket = newNumber()
  const reply = make(ticket)
  expect(ticket, call)
  open(reply)
  return call.promise
}

module.exports = { ask, deliver, expect, forget, holds, newNumber, newNumberOfAcquire, open, pending, refProcess, tell, toClient, unrefProcess }
