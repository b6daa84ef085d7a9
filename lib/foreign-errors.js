'use strict'

// Errors of the caller's own code, which the core passes on by a number, so that who is told gets the very same one.

const kept = new Map()
let count = 0

/** Keeps an error; the number by which it is found again. */
function keep(error) {
  kept.set(++count, error)
  return count
}

const get = (number) => kept.get(number)

function forget(number) {
  kept.delete(number)
}

module.exports = { forget, get, keep }
