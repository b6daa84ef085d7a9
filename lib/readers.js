'use strict'

// Sockets of sessions that this thread reads for the core, so that the server's answer wakes the thread that waits for it and
// none in between. An addition for speed: where it is not possible the core reads them itself. Loaded when it is needed.

const { Socket } = require('node:net')
const { isMainThread } = require('node:worker_threads')

const ROOM = 65_536
let buffer

/** By session: what ends the reading. */
const endings = new Map()

/**
 * Begins to read a session's socket.
 *
 * @param {number} session
 * @param {{ begin(): number, handIn(bytes: Buffer, count: number): number, end(): void }} reader the core's side
 * @param {(reply: number) => void} open sees to what comes of it
 */
function begin(session, reader, open) {
  // A worker may end in the middle of a message.
  if (!isMainThread) return
  const fd = reader.begin()
  if (fd < 0) return
  buffer ??= Buffer.allocUnsafeSlow(ROOM)
  const callback = (count) => {
    open(reader.handIn(buffer, count))
    return true
  }
  const socket = new Socket({ fd, readable: true, writable: false, allowHalfOpen: true, onread: { buffer, callback } })
  const ending = () => {
    if (!endings.delete(session)) return
    socket.destroy()
    reader.end()
  }
  endings.set(session, ending)
  // The core reads the end, or the fault, once more, and tells whom it concerns.
  socket.on('end', ending).on('error', ending).unref()
}

/** Ends it. */
function end(session) {
  endings.get(session)?.()
}

module.exports = { begin, end }
