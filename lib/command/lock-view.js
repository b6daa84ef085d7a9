'use strict'

// The list of locks as lines of text, none of them wider than the terminal.

const { cutInTheMiddle, escaped, padded, widthOf } = require('./text.js')

const SEPARATOR = '  '
/** What nobody knows, or may not see. */
const NONE = '-'
/** So many sessions can be ended by a line each; the others have their numbers in the table. */
const MOST_ENDED = 5
/** No column is made narrower. */
const NARROWEST = 8

/** @type {{ title: string, isFlexible?: boolean, of: (use: import('./lock-list.js').Use) => string }[]} */
const COLUMNS = [
  { title: 'LOCK', isFlexible: true, of: lockOf },
  { title: 'STATE', of: ({ granted }) => (granted ? 'holds' : 'waits') },
  { title: 'MODE', of: ({ mode }) => mode },
  { title: 'PID', of: ({ pid }) => (pid === null ? NONE : String(pid)) },
  { title: 'APPLICATION', isFlexible: true, of: applicationOf },
  { title: 'ADDRESS', isFlexible: true, of: ({ address }) => escaped(address || NONE) },
  { title: 'SINCE', of: ({ granted, age }) => (age === null ? NONE : granted ? `<${duration(age + 1000)}` : duration(age)) },
]

function lockOf({ name, part, key }) {
  if (name === null) return Array.isArray(key) ? `[${key.join(', ')}]` : `${key}n`
  return part === null ? shownName(name) : `${shownName(name)} (${part})`
}

function applicationOf({ pid, application, preparedTransaction }) {
  if (pid === null) return `prepared ${escaped(preparedTransaction ?? NONE)}`
  return escaped(application || NONE)
}

/** The name as it is, unless that could be read as something else. */
function shownName(name) {
  const text = escaped(name)
  return text === '' || text !== text.trim() || /^[["]|^-?\d+n$|\)$/.test(text) ? JSON.stringify(text).replaceAll('\\\\', '\\') : text
}

/** In a few characters: `12s`, `5m12s`, `3h12m`, `5d3h`. */
function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000)
  if (seconds < 60) return `${seconds}s`
  const [minutes, hours, days] = [60, 3600, 86_400].map((unit) => Math.floor(seconds / unit))
  if (hours === 0) return `${minutes}m${seconds % 60}s`
  return days === 0 ? `${hours}h${minutes % 60}m` : `${days}d${hours % 24}h`
}

/**
 * @param {import('./lock-list.js').Use[]} uses
 * @param {string[]} free names of locks that nobody uses
 * @param {number} width in columns
 * @returns {string[]} lines
 */
function view(uses, free, width) {
  const lines = uses.length === 0 ? [] : table(uses, width)
  for (const name of free) lines.push(`${cutInTheMiddle(shownName(name), width - ': free'.length)}: free`)
  if (lines.length === 0) lines.push('Nobody holds an advisory lock of this database.')
  return [...lines, ...endings(uses), ...hidden(uses)].map((line) => cutInTheMiddle(line, width))
}

function table(uses, width) {
  const cells = [COLUMNS.map(({ title }) => title), ...uses.map((use) => COLUMNS.map(({ of }) => of(use)))]
  const widths = COLUMNS.map((_, column) => Math.max(...cells.map((row) => widthOf(row[column]))))
  narrow(widths, width - SEPARATOR.length * (COLUMNS.length - 1))
  return cells.map((row) => {
    const columns = row.map((text, column) => padded(cutInTheMiddle(text, widths[column]), widths[column]))
    return columns.join(SEPARATOR).trimEnd()
  })
}

/** Takes from the widest of the columns that can be cut, until all of them fit. */
function narrow(widths, room) {
  const flexible = COLUMNS.flatMap(({ isFlexible }, column) => (isFlexible ? [column] : []))
  for (let excess = widths.reduce((sum, width) => sum + width, 0) - room; excess > 0; excess--) {
    const widest = flexible.reduce((one, other) => (widths[other] > widths[one] ? other : one))
    if (widths[widest] <= NARROWEST) return
    widths[widest]--
  }
}

function endings(uses) {
  const holding = uses.filter(({ granted, terminate }) => granted && terminate !== null)
  return [
    ...endingsOf('a session that holds, with all its locks', holding.filter(({ pid }) => pid !== null)),
    ...endingsOf('a prepared transaction, which undoes what it has done', holding.filter(({ pid }) => pid === null)),
  ]
}

function endingsOf(what, uses) {
  const statements = new Set(uses.map(({ terminate }) => terminate))
  if (statements.size === 0) return []
  const lines = [...statements].slice(0, MOST_ENDED).map((statement) => `  ${statement}`)
  const rest = statements.size - lines.length
  return ['', `To end ${what}:`, ...lines, ...(rest > 0 ? [`  and so on, for ${rest} more`] : [])]
}

function hidden(uses) {
  const count = new Set(uses.filter(({ isVisible }) => !isVisible).map(({ pid }) => pid)).size
  return count === 0 ? [] : ['', ...noteOnHidden(count)]
}

/** What a role is told that may not see everything. */
function noteOnHidden(count) {
  return [
    `${count === 1 ? '1 session is' : `${count} sessions are`} of other roles: the names that they tell, their`,
    'addresses and times are seen by members of pg_read_all_stats.',
  ]
}

module.exports = { view, noteOnHidden }
