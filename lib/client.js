'use strict'

// The JavaScript side of src/binding: numbers requests, takes completions out of the mailbox, and keeps the process
// alive while a call is pending. One per thread.

const native = require('./native.js')
const { ByNumber } = require('./by-number.js')
const { fromFailures } = require('./errors.js')
const { isTracing, onNotice } = require('./notices.js')

/** Only Node.js takes sockets by descriptor, and not on Windows. */
const canRead = process.platform !== 'win32' && !process.versions.bun && !process.versions.deno

/** Flags of a call. */
const SHARED = 1
const PATIENT = 2
const SCOPED = 4
const SINGLE = 8
const ALONE = 16
/** The hold keeps the process alive: for this side only. */
const KEEP_ALIVE = 32

/** Replies to calls; MAIL is added where completions lie ready, UNSENT where something is to be sent. */
const PENDING = 0
const YES = 1
const NO = 2
const MAIL = 4
const UNSENT = 8
/** What lies above the flags is the number of a request that was granted. */
const NUMBER = 16

/** Kinds of completions. */
const GRANTED = 1
const DENIED = 2
const FAILED = 3
const RELEASED = 4
const NOT_HELD = 5
const RELEASE_FAILED = 6
const LOST = 7
const CLOSED = 8
const HOLDERS = 9
const MAY_READ = 10
const STOP_READING = 11
const WITH_FAILURE = new Set([FAILED, RELEASE_FAILED, LOST])

/** What waits for a completion, by request: `{ settle(kind, hold, error, holders) }`. */
const pending = new ByNumber()
/** Holds by the request that they came from. */
const holds = new ByNumber()

let lastNumber = 0
const newNumber = () => ++lastNumber

/** A timer that does nothing: the way to hold the event loop that every runtime has. */
const aliveness = setInterval(() => {}, 2 ** 31 - 1).unref()
let references = 0

function keepAlive() {
  if (references++ === 0) aliveness.ref()
}

function letGo() {
  if (--references === 0) aliveness.unref()
}

/** Settles `call` by the completion of `request`; the process stays alive until then. */
function expect(request, call) {
  pending.set(request, call)
  keepAlive()
}

/** Does not wait for `request` any more; whether it was waited for. */
function forget(request) {
  const known = pending.delete(request)
  if (known) letGo()
  return known
}

const NUMBERS = 3
const buffer = new Float64Array(512 * NUMBERS)
let delivering = false
let more = false

/** Completes what lies in the mailbox. */
function deliver() {
  // A listener that is told of a loss may call a lock, whose mail this loop takes out as well.
  more = true
  if (delivering) return
  delivering = true
  try {
    while (more) {
      more = false
      const count = client.drain(buffer)
      if (count * NUMBERS === buffer.length) more = true
      for (let index = 0; index < count * NUMBERS; index += NUMBERS) {
        complete(buffer[index], buffer[index + 1], buffer[index + 2])
      }
    }
  } finally {
    delivering = false
  }
}

function complete(request, kind, hold) {
  // Taken even if nobody wants it, to stay in step.
  const error = WITH_FAILURE.has(kind) ? fromFailures(client.takeFailure()) : undefined
  if (kind === LOST) {
    const lost = holds.get(request)
    holds.delete(request)
    lost?.lose(error)
    return
  }
  if (kind === MAY_READ) {
    const reader = client.takeReader()
    // Not before the first lock is with its caller.
    setImmediate(() => require('./readers.js').begin(hold, reader, open))
    return
  }
  if (kind === STOP_READING) return require('./readers.js').end(hold)
  const holders = kind === HOLDERS ? client.takeHolders() : undefined
  const call = pending.get(request)
  if (forget(request)) call.settle(kind, hold, error, holders)
}

// As it was when the program began: who replaces it for a test does not mean our requests.
const { nextTick } = process
let sending = false

/** Sends at the end of this turn what its calls have left to be sent: one statement for all of them. */
function sendLater() {
  if (sending) return
  sending = true
  nextTick(send)
}

function send() {
  sending = false
  client.send()
}

/** Sees to the mail that a reply announces or brings, and to what is to be sent. */
function open(reply) {
  if (reply & UNSENT) sendLater()
  if (reply >= NUMBER) complete(Math.floor(reply / NUMBER), GRANTED)
  else if (reply & MAIL) deliver()
}

/** By JavaScript's own view: a worker and a test runner may have another than the process has. */
const variable = (name) => {
  const value = process.env[name]
  return value === undefined || value === null ? undefined : String(value)
}

const client = new native.Client(deliver, canRead, onNotice, isTracing)

module.exports = {
  ALONE,
  CLOSED,
  DENIED,
  FAILED,
  GRANTED,
  HOLDERS,
  KEEP_ALIVE,
  LOST,
  MAIL,
  NO,
  NOT_HELD,
  NUMBER,
  NUMBERS,
  PATIENT,
  PENDING,
  RELEASED,
  RELEASE_FAILED,
  SCOPED,
  SHARED,
  SINGLE,
  YES,
  deliver,
  expect,
  forget,
  holds,
  keepAlive,
  letGo,
  newNumber,
  open,
  openOwner: (connectionString, options) => new native.Owner(client, connectionString, options, variable),
}
