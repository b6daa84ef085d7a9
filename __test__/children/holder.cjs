'use strict'
// Does one thing with a lock, as its parameters say, and prints what came of it.

const advisoryLock = require('../../index.js')

const [action, connectionString, name] = process.argv.slice(2)
const mutex = advisoryLock(connectionString)(name)
const print = (text) => console.log(text)

const actions = {
  hold: () => mutex.lock().then(() => print('held')),
  idle: () => mutex.withLock().then(() => print('idle')),
  create: () => print('created'),
  wait: () => mutex.lock().then(() => print('held')),
  exit: () => mutex.lock().then(() => process.exit(7)),
  throw: () =>
    mutex.lock().then(() => {
      setImmediate(() => {
        throw new Error('on purpose')
      })
    }),
}

actions[action]()
