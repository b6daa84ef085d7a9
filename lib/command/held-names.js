'use strict'

// The names that sessions of this package say in `pg_stat_activity`: a comment before a statement, which the core writes
// (src/pg/session/held_names.rs). What is read here may be anybody's, and may be cut.

const BEGIN = '/* advisory-lock: '

/**
 * The names in a statement.
 *
 * @param {string | null} query
 * @returns {{ name: string, part?: string }[]} `part`: of the semaphore of that name
 */
function namesIn(query) {
  if (!query?.startsWith(BEGIN)) return []
  const end = query.indexOf(' */', BEGIN.length)
  const tokens = query.slice(BEGIN.length, end < 0 ? undefined : end).split(', ')
  return tokens.filter((token) => !token.startsWith('+')).flatMap(read)
}

function read(token) {
  try {
    const [name, part, ...more] = token.split('#').map(decodeURIComponent)
    if (more.length > 0) return []
    return [part === undefined ? { name } : { name, part }]
  } catch {
    // It is cut, or somebody else's.
    return []
  }
}

module.exports = { namesIn }
