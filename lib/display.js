'use strict'

// What is said of a value of the caller's own code. To read it may run that code, which may fail: nothing here throws.

const { inspect } = require('node:util')

/** What an error says, or what any other value looks like. */
function display(value) {
  try {
    return value instanceof Error ? String(value.message) : inspect(value)
  } catch {
    return 'a value that cannot be shown'
  }
}

/** Where an error comes from, if it says so. */
function stackOf(value) {
  try {
    return value instanceof Error && typeof value.stack === 'string' ? value.stack : undefined
  } catch {
    return undefined
  }
}

module.exports = { display, stackOf }
