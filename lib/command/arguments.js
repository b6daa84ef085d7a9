'use strict'

// The command lines of `withlock` and `pgmutex`. No message repeats a value: it may be a connection string in the wrong place.

const { parseArgs } = require('node:util')
const { OPTIONS, nearMiss } = require('./options.js')

/** As many as a semaphore may have. */
const MOST_PERMITS = 1000

/** A command line that cannot be used, and the exit status that says so. */
class UsageError extends Error {
  constructor(message, status = 2) {
    super(message)
    this.status = status
  }
}

/**
 * What to do, as the command line says it.
 *
 * @typedef {object} Job
 * @property {string} name of the lock
 * @property {string} label what the lock is called in messages
 * @property {boolean} publishNames whether the name may be told in the database
 * @property {string[]} command
 * @property {string} connectionString
 * @property {boolean} shared
 * @property {number} [permits] of the semaphore that takes the place of the lock
 * @property {number} timeout in milliseconds, `Infinity` where there is none
 * @property {number} conflictStatus
 * @property {number} lostStatus
 * @property {boolean} verbose
 * @property {string[]} ignored options that nobody knows, as far as they can be shown
 */

/**
 * Reads `withlock <name> [options] -- <command>`. What the original accepts is accepted: it ignores options that it does
 * not know, together with the argument behind them; what it answers with status 1 is answered so.
 *
 * @returns {Job | { help?: boolean, version?: boolean }}
 */
function readWithlock(parameters, environment) {
  const end = parameters.indexOf('--')
  const before = end < 0 ? parameters : parameters.slice(0, end)
  const { values, tokens } = parse(before, OPTIONS.withlock)
  const names = []
  const ignored = new Set()
  let follows
  for (const token of tokens) {
    const isUnknown = token.kind === 'option' && !Object.hasOwn(OPTIONS.withlock, token.name)
    if (isUnknown) {
      refuseNearMiss(before[token.index], OPTIONS.withlock)
      ignored.add(shown(token.rawName))
    }
    // The original takes what follows an unknown option for its value.
    if (token.kind === 'positional' && token.index !== follows) names.push(token.value)
    follows = isUnknown && token.value === undefined ? token.index + 1 : undefined
  }
  if (values.help || values.version) return values
  const settings = read(values)
  const permits = readPermits(values)
  if (names.length === 0) throw new UsageError('no lock name is given', 1)
  if (names.length > 1) throw new UsageError('more than one lock name is given (the command goes behind --)', 1)
  const command = end < 0 ? [] : parameters.slice(end + 1)
  if (command.length === 0) throw new UsageError('no command is given behind --', 1)
  const name = named(names[0], permits === undefined ? 'the lock' : 'a permit of')
  return { ...settings, permits, ...name, command, ignored: [...ignored], connectionString: connection(values, environment) }
}

/**
 * Reads `pgmutex [options] <command>`: the first argument that is no option begins the command.
 *
 * @returns {Job | { help?: boolean, version?: boolean }}
 */
function readPgmutex(parameters, environment) {
  const begin = parse(parameters, OPTIONS.pgmutex).tokens.find(({ kind }) => kind !== 'option')?.index ?? parameters.length
  const before = parameters.slice(0, begin)
  const { values, tokens } = parse(before, OPTIONS.pgmutex)
  for (const token of tokens) {
    if (Object.hasOwn(OPTIONS.pgmutex, token.name)) continue
    refuseNearMiss(before[token.index], OPTIONS.pgmutex)
    throw new UsageError(`there is no option ${shown(token.rawName)}`)
  }
  if (values.help || values.version) return values
  const settings = read(values)
  const command = parameters.slice(parameters[begin] === '--' ? begin + 1 : begin)
  if (command.length === 0) throw new UsageError('no command is given')
  // A command line may hold a password, so it is no label, and nothing for others to read.
  const name = values.name === undefined ? { name: command.join(' '), label: 'the lock', publishNames: false } : named(values.name)
  return { ...settings, ...name, command, ignored: [], connectionString: connection(values, environment) }
}

const parse = (parameters, options) =>
  parseArgs({ args: parameters, options, strict: false, tokens: true, allowPositionals: true })

function named(name, what = 'the lock') {
  if (name === '') throw new UsageError('the lock name is empty')
  return { name, label: `${what} ${JSON.stringify(name)}`, publishNames: true }
}

function readPermits({ permits, shared }) {
  if (permits === undefined) return undefined
  if (shared) throw new UsageError('--permits and --shared exclude each other')
  const isRight = (value) => Number.isInteger(value) && value >= 1 && value <= MOST_PERMITS
  return toNumber('permits', permits, isRight, `an integer from 1 to ${MOST_PERMITS}`)
}

/** A misspelt `--try` that is ignored waits, perhaps for ever. */
function refuseNearMiss(argument, options) {
  const meant = nearMiss(argument, options)
  if (meant) throw new UsageError(`there is no option ${shown(argument.split('=')[0])}: is it --${meant}?`)
}

/** An option, unless something else may have been put there. */
const shown = (option) => (/^--?[a-z][\w-]{0,30}$/i.test(option) ? option : 'of that name')

function read(values) {
  for (const name of ['db', 'name', 'permits', 'timeout', 'conflict-exit-code', 'lost-exit-code']) {
    if (name in values && typeof values[name] !== 'string') throw new UsageError(`--${name} needs a value`)
  }
  for (const name of ['shared', 'try', 'verbose', 'help', 'version']) {
    if (typeof values[name] === 'string') throw new UsageError(`--${name} takes no value`)
  }
  if (values.try && values.timeout !== undefined) throw new UsageError('--try and --timeout exclude each other')
  const number = (name, isRight, what) => {
    const text = values[name]
    return text === undefined ? undefined : toNumber(name, text, isRight, what)
  }
  const status = (name) =>
    number(name, (value) => Number.isInteger(value) && value >= 0 && value <= 255, 'an integer from 0 to 255') ?? 1
  const seconds = number('timeout', (value) => value >= 0 && value < Infinity, 'a number of seconds')
  return {
    shared: values.shared === true,
    timeout: values.try ? 0 : seconds === undefined ? Infinity : seconds * 1000,
    conflictStatus: status('conflict-exit-code'),
    lostStatus: status('lost-exit-code'),
    verbose: values.verbose === true,
  }
}

function toNumber(name, text, isRight, what) {
  if (text.trim() === '' || !isRight(Number(text))) throw new UsageError(`--${name} needs ${what}`)
  return Number(text)
}

function connection(values, environment) {
  const given = values.db || environment.PG_CONNECTION_STRING || environment.DATABASE_URL
  if (given) return given
  // Without any of these, to connect anywhere would be a guess.
  const names = ['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE']
  if (names.some((name) => environment[name])) return ''
  throw new UsageError(`no --db is given, and none of PG_CONNECTION_STRING, DATABASE_URL, ${names.join(', ')} is set`, 1)
}

module.exports = { UsageError, connection, parse, readPgmutex, readWithlock, refuseNearMiss, shown }
