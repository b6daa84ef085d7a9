'use strict'

// `pglocks`: who holds which lock of a database, and who waits for it.

const { setTimeout: sleep } = require('node:timers/promises')
const { constants } = require('node:os')
const { Overview } = require('../overview.js')
const { sessionName } = require('./held-locks.js')
const { LockList } = require('./lock-list.js')
const { view, noteOnHidden } = require('./lock-view.js')
const { reasonOf } = require('./report.js')
const { Screen, write } = require('./screen.js')

/** Between two looks, in milliseconds. */
const PERIOD = 1000
/** Lines of a file or a pipe. */
const WIDTH = 80
const STATUS_OF_SIGNAL = 128

/**
 * @param {string} program
 * @param {import('./locks-arguments.js').LocksJob} job
 * @param {import('./signals.js').Signals} signals
 * @param {import('./report.js').Report} report
 * @returns {Promise<import('./supervise.js').End>}
 */
async function showLocks(program, job, signals, report) {
  const applicationName = sessionName(program, job, process.env)
  const overview = new Overview(job.connectionString, { applicationName })
  const list = new LockList(job.names)
  const { stopped } = signals
  // Whoever writes is told.
  process.stdout.on('error', () => {})
  const ended = new Promise((resolve) => stopped.addEventListener('abort', resolve))
  const watching = async () => {
    const show = job.json ? new JsonOutput(report, job.watch) : toOutput(list, process.stdout, job.watch)
    const first = await overview.look()
    await show.show(list.list(first))
    while (job.watch && !stopped.aborted) {
      await sleep(PERIOD, undefined, { signal: stopped }).catch(() => {})
      if (stopped.aborted) break
      try {
        await show.show(list.list(await overview.look()))
      } catch (error) {
        if (error.code === 'EPIPE') throw error
        await show.fail(error, report)
      }
    }
    return { status: 0 }
  }
  // A look at a server that does not answer is not waited for.
  const interrupted = ended.then(() => ({ status: STATUS_OF_SIGNAL + constants.signals[stopped.reason] }))
  try {
    return await Promise.race([watching(), interrupted])
  } catch (error) {
    // Nobody reads on.
    if (error.code === 'EPIPE') return { status: 0 }
    throw error
  }
}

function toOutput(list, stream, isWatching) {
  return isWatching && stream.isTTY ? new ScreenOutput(list, stream) : new TextOutput(list, stream)
}

/** On a terminal, in place. */
class ScreenOutput {
  #list
  #screen
  #lines = []

  constructor(list, stream) {
    this.#list = list
    this.#screen = new Screen(stream)
  }

  show(uses) {
    this.#lines = view(uses, this.#list.free(uses), this.#screen.columns)
    return this.#screen.show(this.#lines)
  }

  /** What was seen last stays. */
  fail(error) {
    return this.#screen.show([`${reasonOf(error)}; goes on trying`, '', ...this.#lines])
  }
}

/** Anywhere else: only what has changed, but for the ages. */
class TextOutput {
  #list
  #stream
  #last
  #failure

  constructor(list, stream) {
    this.#list = list
    this.#stream = stream
  }

  async show(uses) {
    this.#failure = undefined
    const known = JSON.stringify(uses, (field, value) => (field === 'age' ? undefined : value))
    if (known === this.#last) return
    const begin = this.#last === undefined ? '' : '\n'
    this.#last = known
    const width = this.#stream.isTTY ? this.#stream.columns || WIDTH : WIDTH
    await write(this.#stream, `${begin}${view(uses, this.#list.free(uses), width).join('\n')}\n`)
  }

  async fail(error, report) {
    if (this.#failure !== error.code) report.say(`${reasonOf(error)}; goes on trying`)
    this.#failure = error.code
  }
}

/** For programs: a list, or with `--watch` a line for each change. */
class JsonOutput {
  #report
  #isWatching
  #last
  #failure
  #hasTold = false

  constructor(report, isWatching) {
    this.#report = report
    this.#isWatching = isWatching
  }

  async show(uses) {
    this.#failure = undefined
    const hidden = new Set(uses.filter(({ isVisible }) => !isVisible).map(({ pid }) => pid)).size
    if (hidden > 0 && !this.#hasTold) this.#report.say(noteOnHidden(hidden).join(' '))
    this.#hasTold ||= hidden > 0
    const listed = uses.map(({ age: _, isVisible: __, ...use }) => use)
    const text = printable(JSON.stringify(listed, null, this.#isWatching ? 0 : 2))
    if (text === this.#last) return
    this.#last = text
    await write(process.stdout, `${text}\n`)
  }

  async fail(error, report) {
    if (this.#failure !== error.code) report.say(`${reasonOf(error)}; goes on trying`)
    this.#failure = error.code
  }
}

/** The same JSON, which may be read on a terminal. */
function printable(json) {
  const unsafe = /[\x7f-\x9f\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu
  const spelled = (character) => Array.from({ length: character.length }, (_, place) => `\\u${character.charCodeAt(place).toString(16).padStart(4, '0')}`)
  return json.replaceAll(unsafe, (character) => spelled(character).join(''))
}

module.exports = { showLocks }
