'use strict'

// The command lines of `withlock` and `pgmutex`.

const { parseArgs } = require('node:util')

const OPTIONS = {
  db: { type: 'string' },
  shared: { type: 'boolean' },
  try: { type: 'boolean' },
  timeout: { type: 'string' },
  'conflict-exit-code': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
}

const OPTIONS_HELP = `
  --db <connection string>   where to connect (other users of this machine can see it in the list of processes);
                             else PG_CONNECTION_STRING, else DATABASE_URL, else the PG* variables
  --shared                   hold the lock together with others who hold it shared
  --try                      give up at once if the lock is taken
  --timeout <seconds>        give up if the lock is not free by then
  --conflict-exit-code <n>   the exit status for giving up, 0 to 255 (default 1)
  --help, --version

Exit status: that of the command, 128 + n where signal n ended it; 127 if there is no such command, 126 if it cannot be run;
1 if the lock cannot be taken or is lost, which ends the command; 2 for a wrong option.`

const HELP = {
  withlock: `Usage: withlock <name> [options] -- <command> [argument...]

Runs the command while holding the lock of that name, so that it runs once at a time.
${OPTIONS_HELP}`,
  pgmutex: `Usage: pgmutex [--name <name>] [options] <command> [argument...]

Runs the command while holding a lock, so that it runs once at a time.

  --name <name>              name of the lock (default: the command line)${OPTIONS_HELP}`,
}

/** A command line that cannot be used, and the exit status that says so. */
class UsageError extends Error {
  constructor(message, status = 2) {
    super(message)
    this.status = status
  }
}

/**
 * Reads `withlock <name> [options] -- <command>`. What the original accepts is accepted: it ignores options that it does
 * not know, together with the argument behind them; what it answers with status 1 is answered so.
 */
function readWithlock(parameters, environment) {
  const end = parameters.indexOf('--')
  const before = end < 0 ? parameters : parameters.slice(0, end)
  const { values, tokens } = parseArgs({ args: before, options: OPTIONS, strict: false, tokens: true, allowPositionals: true })
  const names = []
  const ignored = []
  let follows
  for (const token of tokens) {
    const unknown = token.kind === 'option' && !Object.hasOwn(OPTIONS, token.name)
    if (unknown) ignored.push(token.rawName)
    // The original takes what follows an unknown option for its value.
    if (token.kind === 'positional' && token.index !== follows) names.push(token.value)
    follows = unknown && token.value === undefined ? token.index + 1 : undefined
  }
  if (values.help || values.version) return values
  const settings = read(values)
  if (names.length === 0) throw new UsageError('no lock name is given', 1)
  if (names.length > 1) throw new UsageError(`unknown arguments: ${names.slice(1).join(' ')} (the command goes behind --)`, 1)
  const command = end < 0 ? [] : parameters.slice(end + 1)
  if (command.length === 0) throw new UsageError('no command is given behind --', 1)
  return { ...settings, name: names[0], command, ignored, connectionString: connection(values, environment) }
}

/** Reads `pgmutex [options] <command>`: the first argument that is no option begins the command. */
function readPgmutex(parameters, environment) {
  const options = { ...OPTIONS, name: { type: 'string' } }
  const { tokens } = parseArgs({ args: parameters, options, strict: false, tokens: true, allowPositionals: true })
  const begin = tokens.find(({ kind }) => kind !== 'option')?.index ?? parameters.length
  let values
  try {
    values = parseArgs({ args: parameters.slice(0, begin), options }).values
  } catch (error) {
    throw new UsageError(error.message)
  }
  if (values.help || values.version) return values
  const settings = read(values)
  const command = parameters.slice(parameters[begin] === '--' ? begin + 1 : begin)
  if (command.length === 0) throw new UsageError('no command is given')
  const name = values.name ?? command.join(' ')
  return { ...settings, name, command, ignored: [], connectionString: connection(values, environment) }
}

function read(values) {
  for (const name of ['db', 'timeout', 'conflict-exit-code']) {
    if (name in values && typeof values[name] !== 'string') throw new UsageError(`--${name} needs a value`)
  }
  for (const name of ['shared', 'try']) {
    if (typeof values[name] === 'string') throw new UsageError(`--${name} takes no value`)
  }
  if (values.try && values.timeout !== undefined) throw new UsageError('--try and --timeout exclude each other')
  const number = (name, isRight, what) => {
    const text = values[name]
    if (text === undefined) return undefined
    if (text.trim() === '' || !isRight(Number(text))) throw new UsageError(`--${name} needs ${what}, not ${JSON.stringify(text)}`)
    return Number(text)
  }
  const seconds = number('timeout', (value) => value >= 0 && value < Infinity, 'a number of seconds')
  const isStatus = (value) => Number.isInteger(value) && value >= 0 && value <= 255
  return {
    shared: values.shared === true,
    timeout: values.try ? 0 : seconds === undefined ? Infinity : seconds * 1000,
    conflictStatus: number('conflict-exit-code', isStatus, 'an integer from 0 to 255') ?? 1,
  }
}

function connection(values, environment) {
  const given = values.db || environment.PG_CONNECTION_STRING || environment.DATABASE_URL
  if (given) return given
  // Without any of these, to connect anywhere would be a guess.
  const names = ['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE']
  if (names.some((name) => environment[name])) return ''
  throw new UsageError(`no --db is given, and none of PG_CONNECTION_STRING, DATABASE_URL, ${names.join(', ')} is set`, 1)
}

module.exports = { HELP, UsageError, readPgmutex, readWithlock }
