// The ways to import the package.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'

for (const entry of ['advisory-lock-native', 'advisory-lock-native/v2']) {
  test(`require('${entry}') gives the function, with its companions`, () => {
    const required = createRequire(import.meta.url)(entry)
    assert.equal(typeof required, 'function')
    assert.equal(required.default, required)
    assert.deepEqual(required.strToKey('test-lock'), [-107789403, -1898803861])
    assert.ok(new required.AdvisoryLockError({ code: 'x', message: 'y' }) instanceof Error)
  })

  test(`import from '${entry}' gives a default and named exports`, async () => {
    const imported = await import(entry)
    assert.equal(typeof imported.default, 'function')
    assert.equal(imported.strToKey, imported.default.strToKey)
    assert.equal(imported.AdvisoryLockError, imported.default.AdvisoryLockError)
  })
}

test('the entries share what is the same in both', async () => {
  const [one, two] = [await import('advisory-lock-native'), await import('advisory-lock-native/v2')]
  assert.equal(one.AdvisoryLockError, two.AdvisoryLockError)
  assert.equal(one.strToKey, two.strToKey)
  assert.notEqual(one.default, two.default)
})
