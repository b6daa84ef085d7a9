// What a test of somebody's does with locks: both contracts, limits, a wait, a lock that nobody gives back, and nothing closed.

const assert = require('node:assert/strict')

/** @param {string} name of a lock that no other test uses */
module.exports = async function body(name) {
  const advisoryLock = require('advisory-lock-native')
  const contract2 = require('advisory-lock-native/v2')
  const url = process.env.PG_CONNECTION_STRING
  const createMutex = advisoryLock(url)
  const { lock, withLock } = createMutex(name)
  const unlock = await lock()
  assert.equal(await advisoryLock(url)(name).tryLock(), false)
  const waiting = advisoryLock(url)(name).lock({ timeout: 60_000, signal: new AbortController().signal })
  await unlock()
  await (await waiting)()
  assert.equal(await withLock(async (signal) => signal.aborted, {}), false)
  const reason = new Error('on purpose')
  const aborted = new AbortController()
  aborted.abort(reason)
  await assert.rejects(lock({ signal: aborted.signal }), (error) => error === reason)
  assert.equal(await contract2(url)(name).withLock(() => 5), 5)
  assert.equal(await createMutex(`${name} ${Math.random()}`).tryLock(), true)
}
