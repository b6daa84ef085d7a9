'use strict'

// A part of the terminal that is written again and again in the same place.

const UP = (lines) => (lines > 0 ? `\x1b[${lines}A` : '')
const CLEAR_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'
const CLEAR_SCREEN = '\x1b[2J\x1b[H'

class Screen {
  #stream
  #height = 0
  #isResized = false

  /** @param {import('node:tty').WriteStream} stream */
  constructor(stream) {
    this.#stream = stream
    // What has been written may have been broken into other lines.
    stream.on('resize', () => (this.#isResized = true))
  }

  get columns() {
    return this.#stream.columns || 80
  }

  /** Shows these lines in the place of those before, as far as there is room. */
  show(lines) {
    const rows = Math.max(2, this.#stream.rows || 24) - 1
    const shown = lines.length > rows ? [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} lines more`] : lines
    const start = this.#isResized ? CLEAR_SCREEN : `\r${UP(this.#height)}`
    this.#isResized = false
    this.#height = shown.length
    return write(this.#stream, `${start}${shown.map((line) => `${line}${CLEAR_LINE}\n`).join('')}${CLEAR_BELOW}`)
  }
}

/** Resolves when it is on its way. */
function write(stream, text) {
  return new Promise((resolve, reject) => stream.write(text, (error) => (error ? reject(error) : resolve())))
}

module.exports = { Screen, write }
