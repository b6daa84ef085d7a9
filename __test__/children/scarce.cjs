'use strict'
// Uses locks while something that the system gives is used up. Talks by messages.

const { closeSync, openSync } = require('node:fs')
const advisoryLock = require('../../index.js')

const [connectionString] = process.argv.slice(2)
const outcome = (promise) => promise.then((value) => (typeof value === 'function' ? value().then(() => 'ok') : value), ({ code }) => code)

/** Takes all descriptors that are left; a function that gives them back. */
function takeDescriptors() {
  const taken = []
  try {
    for (;;) taken.push(openSync('/dev/null'))
  } catch (error) {
    if (error.code !== 'EMFILE') throw error
  }
  return () => taken.forEach(closeSync)
}

const actions = {
  /** Descriptors are gone in the tick after the lock is held, and come back. */
  async 'holds without descriptors'() {
    const unlock = await advisoryLock(connectionString, { heartbeat: 100 })('held').lock()
    const giveBack = takeDescriptors()
    // Some heartbeats, and other work of the session.
    await new Promise((resolve) => process.send('full', resolve))
    await new Promise((resolve) => process.once('message', resolve))
    const aborted = unlock.signal.aborted
    giveBack()
    return { aborted, unlocked: await unlock() }
  },
  /** No descriptor is left before the first lock, which needs some for an event queue. */
  async 'begins without descriptors'() {
    const giveBack = takeDescriptors()
    const createMutex = advisoryLock(connectionString)
    const without = [await outcome(createMutex('first').lock()), await outcome(createMutex('first').tryLock())]
    giveBack()
    return { without, after: await outcome(createMutex('first').lock()) }
  },
  /** No thread can be started, until it is told to go on. */
  async 'begins without threads'() {
    const createMutex = advisoryLock(connectionString)
    await new Promise((resolve) => process.send('ready', resolve))
    await new Promise((resolve) => process.once('message', resolve))
    const without = [await outcome(createMutex('first').lock()), await outcome(createMutex('first').tryLock())]
    await new Promise((resolve) => process.send('asked', resolve))
    await new Promise((resolve) => process.once('message', resolve))
    return { without, after: await outcome(createMutex('first').lock()) }
  },
}

process.once('message', async (action) => {
  const result = await actions[action]()
  process.send(result, () => process.disconnect())
})
