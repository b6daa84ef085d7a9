'use strict'

// The options of the commands, how they are described, and what is taken for a misspelling of one.

/** For `parseArgs`. */
const COMMON = {
  db: { type: 'string' },
  shared: { type: 'boolean' },
  try: { type: 'boolean' },
  timeout: { type: 'string' },
  'conflict-exit-code': { type: 'string' },
  'lost-exit-code': { type: 'string' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
}
const OPTIONS = {
  withlock: { ...COMMON, permits: { type: 'string', short: 'n' } },
  pgmutex: { ...COMMON, name: { type: 'string' } },
  pglocks: { db: COMMON.db, watch: { type: 'boolean' }, json: { type: 'boolean' }, help: COMMON.help, version: COMMON.version },
}

const COMMON_HELP = `
  --db <connection string>   where to connect (other users of this machine can see it in the list of processes);
                             else PG_CONNECTION_STRING, else DATABASE_URL, else the PG* variables
  --shared                   hold the lock together with others who hold it shared
  --try                      give up at once if the lock is taken
  --timeout <seconds>        give up if the lock is not free by then
  --conflict-exit-code <n>   the exit status for giving up, 0 to 255 (default 1)
  --lost-exit-code <n>       the exit status where the lock is lost, 0 to 255 (default 1)
  --verbose                  say on standard error what happens
  --help, --version

The lock is kept until the command and all processes of its process group have ended. Where it is lost they are ended:
by SIGTERM, five seconds later by SIGKILL. Signals are handed on to all of them. They see the lock's name in
ADVISORY_LOCK_NAME.

Exit status: that of the command, 128 + n where signal n ended it; 127 if there is no such command, 126 if it cannot be run;
1 if the lock cannot be taken or is lost; 2 for a wrong option.`

const HELP = {
  withlock: `Usage: withlock <name> [options] -- <command> [argument...]

Runs the command while holding the lock of that name, so that it runs once at a time.

  -n, --permits <n>          run it up to n times at once, 1 to 1000; whoever uses this name must mean the same number
                             (it is a semaphore then, which excludes nobody who takes the lock of that name)${COMMON_HELP}`,
  pgmutex: `Usage: pgmutex [--name <name>] [options] <command> [argument...]

Runs the command while holding a lock, so that it runs once at a time.

  --name <name>              name of the lock (default: the command line)${COMMON_HELP}`,
  pglocks: `Usage: pglocks [options] [name...]

Shows who holds advisory locks of a database and who waits for them: sessions of this package, and of anybody else. With
names, only the locks of these names.

  --db <connection string>   where to connect (other users of this machine can see it in the list of processes);
                             else PG_CONNECTION_STRING, else DATABASE_URL, else the PG* variables
  --watch                    look again each second: on a terminal in place, elsewhere only what has changed
  --json                     for programs: a list, with --watch a line for each change
  --help, --version

A lock is shown by its name where that is given, or where the session that holds it says it; else by its key. Since when a
session holds a lock is not known to the server: <5m12s says that it is there for so long, and holds it no longer.
Nothing is changed: the lines that would end a session are printed, never run.

Exit status: 0; 1 if the server cannot be reached or refuses; 2 for a wrong option.`,
}

/**
 * The option that was meant by an argument which is none: another spelling (`-try`, `--conflict_exit_code`), a beginning
 * (`--time`), or up to two letters that are wrong, missing, too many or in each other's place (`--tyr`), one in a short name.
 *
 * @param {string} argument
 * @param {object} options of the program
 * @returns {string | undefined} its name
 */
function nearMiss(argument, options) {
  const word = argument.replace(/^-+/, '').split('=')[0].toLowerCase().replaceAll('_', '-')
  if (word.length < 2) return undefined
  return Object.keys(options).find((name) => {
    if (word.length > 2 && name.startsWith(word)) return true
    return distance(word, name) <= (name.length > 4 ? 2 : 1)
  })
}

/** How many letters must be changed, added, taken away or exchanged with their neighbours to make one word of the other. */
function distance(from, to) {
  let before
  let last
  let row = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let line = 1; line <= from.length; line++) {
    before = last
    last = row
    row = [line]
    for (let column = 1; column <= to.length; column++) {
      const change = last[column - 1] + (from[line - 1] === to[column - 1] ? 0 : 1)
      let least = Math.min(change, last[column] + 1, row[column - 1] + 1)
      const areExchanged = from[line - 1] === to[column - 2] && from[line - 2] === to[column - 1]
      if (line > 1 && column > 1 && areExchanged) least = Math.min(least, before[column - 2] + 1)
      row.push(least)
    }
  }
  return row[to.length]
}

module.exports = { HELP, OPTIONS, nearMiss }
