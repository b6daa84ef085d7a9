'use strict'

// Functions that give passwords. The core asks whenever it opens a session, as passwords may be good for minutes only.

const { clientClosed, invalidType, invalidValue, passwordFunctionFailed } = require('./errors.js')
const foreignErrors = require('./foreign-errors.js')
const native = require('./native.js')

/** The core's side; made for the first function. */
let desk

const numbers = new WeakMap()
/** Functions by number. An owner keeps its own; without owners nobody needs a session. */
const functions = new Map()
const collected = new FinalizationRegistry((number) => functions.delete(number))

/** Makes a function known to the core: the number that stands for it, and where the core asks. */
function register(fn) {
  desk ??= new native.Passwords()
  let number = numbers.get(fn)
  if (number === undefined) {
    number = desk.newNumber()
    numbers.set(fn, number)
    functions.set(number, new WeakRef(fn))
    collected.register(fn, number)
  }
  return { number, desk }
}

/** Asks the function and answers the core's question. */
function answer(question, number) {
  const fn = functions.get(number)?.deref()
  ask(fn).then(
    (password) => desk.supply(question, password),
    (error) => {
      desk.takeForgotten().forEach(foreignErrors.forget)
      // What is no reason would look like none to those who are told.
      desk.fail(question, foreignErrors.keep(error || passwordFunctionFailed()))
    },
  )
}

/** As to `pg`, `undefined` is no password, and what is neither that nor a string is an error. */
async function ask(fn) {
  if (!fn) throw clientClosed()
  const password = await fn()
  if (password !== undefined && typeof password !== 'string') {
    throw invalidType('what config.password() resolves to', 'a string', password)
  }
  if (password?.includes('\0')) throw invalidValue('what config.password() resolves to has a null character, which no text of PostgreSQL has')
  return password
}

module.exports = { answer, register }
