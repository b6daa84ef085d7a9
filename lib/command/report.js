'use strict'

const { writeSync } = require('node:fs')

/** What a command of this package says itself: on standard error, a line each, behind its name. */
class Report {
  #program
  #isVerbose
  #start = performance.now()
  #brokenPipes = 0

  /** @param {string} program @param {boolean} isVerbose whether each step is told */
  constructor(program, isVerbose) {
    this.#program = program
    this.#isVerbose = isVerbose
  }

  say(message) {
    try {
      // At once, and without Node.js's stream, which would make a pipe that is shared with the command non-blocking.
      writeSync(2, `${this.#program}: ${message}\n`)
    } catch (error) {
      // Nobody listens any more.
      if (error.code === 'EPIPE') this.#brokenPipes++
    }
  }

  /** Says what happens, to whoever wants to know. */
  step(message) {
    if (!this.#isVerbose) return
    const seconds = ((performance.now() - this.#start) / 1000).toFixed(3)
    this.say(`${seconds} s: ${message}`)
  }

  /** Whether a SIGPIPE comes from a line that nobody has read, rather than from somebody who sends it. */
  takeBrokenPipe() {
    if (this.#brokenPipes === 0) return false
    this.#brokenPipes--
    return true
  }
}

/** The error in one line; what has led to it where it says no more than that something is lost. */
function reasonOf(error) {
  const reason = error.code === 'ERR_LOCK_LOST' && error.cause ? error.cause : error
  return reason.code ? `${reason.message} (${reason.code})` : reason.message
}

module.exports = { Report, reasonOf }
