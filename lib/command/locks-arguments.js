'use strict'

const { UsageError, connection, parse, refuseNearMiss, shown } = require('./arguments.js')
const { OPTIONS } = require('./options.js')

/**
 * What `pglocks` is to show.
 *
 * @typedef {object} LocksJob
 * @property {string[]} names of locks; none: all
 * @property {string} connectionString
 * @property {boolean} watch
 * @property {boolean} json
 */

/**
 * Reads `pglocks [options] [name...]`.
 *
 * @returns {LocksJob | { help?: boolean, version?: boolean }}
 */
function readPglocks(parameters, environment) {
  const { values, tokens, positionals } = parse(parameters, OPTIONS.pglocks)
  for (const token of tokens) {
    if (token.kind !== 'option' || Object.hasOwn(OPTIONS.pglocks, token.name)) continue
    refuseNearMiss(parameters[token.index], OPTIONS.pglocks)
    throw new UsageError(`there is no option ${shown(token.rawName)}`)
  }
  if (values.help || values.version) return values
  if ('db' in values && typeof values.db !== 'string') throw new UsageError('--db needs a value')
  for (const name of ['watch', 'json']) {
    if (typeof values[name] === 'string') throw new UsageError(`--${name} takes no value`)
  }
  if (positionals.includes('')) throw new UsageError('the lock name is empty')
  return {
    names: [...new Set(positionals)],
    connectionString: connection(values, environment),
    watch: values.watch === true,
    json: values.json === true,
  }
}

module.exports = { readPglocks }
