// Programs written for the original, one for each of its lines: unchanged but for the name that they import it by.

/** For advisory-lock 1.2.0, as its documentation has it: a CommonJS program. */
export const caller1 = (name) => `
  const assert = require('node:assert')
  const advisoryLock = require('${name}').default
  const getMutex = advisoryLock(process.env.PG_CONNECTION_STRING)
  const { withLock, tryLock, lock, unlock } = getMutex('test-lock')
  withLock(() => tryLock().then((obtained) => unlock().then((given) => assert.deepEqual([obtained, given], [true, true]))))
    .then(() => lock())
    .then(() => advisoryLock(process.env.PG_CONNECTION_STRING)('test-lock').tryLock())
    .then((obtained) => assert.strictEqual(obtained, false))
    .then(() => unlock())
    .then(() => getMutex.client.end())
    .then(() => console.log('caller 1: ok'))`

/** For advisory-lock 2.0.0: an ES module. */
export const caller2 = (name) => `
  import assert from 'node:assert'
  import advisoryLock, { strToKey } from '${name}'
  const { lock, tryLock, withLock, unlock } = advisoryLock(process.env.PG_CONNECTION_STRING)('test-lock')
  const release = await lock()
  assert.equal(await tryLock(), undefined)
  assert.equal(await release(), undefined)
  assert.equal(await withLock(async () => 'x'), 'x')
  assert.equal(typeof (await tryLock()), 'function')
  assert.equal(await unlock(), undefined)
  assert.deepEqual(strToKey('test-lock'), [-107789403, -1898803861])
  console.log('caller 2: ok')`
