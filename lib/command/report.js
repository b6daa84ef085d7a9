'use strict'

const { write, writeSync } = require('node:fs')
const { promisify } = require('node:util')

const writeAside = promisify(write)

/** What a command of this package says itself: on standard error, a line each, behind its name. */
class Report {
  #program
  #isVerbose
  #start = performance.now()
  /** Broken pipes of which no SIGPIPE has come yet, and SIGPIPEs of which the write has not failed yet. */
  #brokenPipes = 0
  #earlySignals = 0
  #isAside = false
  #unwritten = 0
  /** Resolves when all is written that was said. */
  told = Promise.resolve()

  /** @param {string} program @param {boolean} isVerbose whether each step is told */
  constructor(program, isVerbose) {
    this.#program = program
    this.#isVerbose = isVerbose
  }

  say(message) {
    const line = Buffer.from(`${this.#program}: ${message}\n`)
    if (this.#isAside) {
      this.#unwritten++
      this.told = this.told.then(() => this.#write(line)).finally(() => this.#unwritten--)
      return
    }
    try {
      // At once, and without Node.js's stream, which would make a pipe that is shared with the command non-blocking.
      writeSync(2, line)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** From now on this thread waits for nobody who does not read: it has a command to look after. */
  stepAside() {
    this.#isAside = true
  }

  async #write(line) {
    try {
      for (let at = 0; at < line.length; ) at += (await writeAside(2, line, at)).bytesWritten
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error) {
    // Nobody listens any more.
    if (error.code !== 'EPIPE') return
    if (this.#earlySignals > 0) this.#earlySignals--
    else this.#brokenPipes++
  }

  /** Says what happens, to whoever wants to know. */
  step(message) {
    if (!this.#isVerbose) return
    const seconds = ((performance.now() - this.#start) / 1000).toFixed(3)
    this.say(`${seconds} s: ${message}`)
  }

  /** Whether a SIGPIPE comes from a line that nobody has read, rather than from somebody who sends it. */
  takeBrokenPipe() {
    if (this.#brokenPipes > 0) this.#brokenPipes--
    else if (this.#unwritten > 0) this.#earlySignals++
    else return false
    return true
  }
}

/** The error in one line; what has led to it where it says no more than that something is lost. */
function reasonOf(error) {
  const reason = error.code === 'ERR_LOCK_LOST' && error.cause ? error.cause : error
  return reason.code ? `${reason.message} (${reason.code})` : reason.message
}

module.exports = { Report, reasonOf }
