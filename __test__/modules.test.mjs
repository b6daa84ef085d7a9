// The ways to import the package.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'

const path = '../index.js'

test('require gives the function, with its companions', () => {
  const required = createRequire(import.meta.url)(path)
  assert.equal(typeof required, 'function')
  assert.equal(required.default, required)
  assert.deepEqual(required.strToKey('test-lock'), [-107789403, -1898803861])
  assert.ok(new required.AdvisoryLockError({ code: 'x', message: 'y' }) instanceof Error)
})

test('import gives a default and named exports', async () => {
  const imported = await import(path)
  assert.equal(typeof imported.default, 'function')
  assert.equal(imported.strToKey, imported.default.strToKey)
  assert.equal(imported.AdvisoryLockError, imported.default.AdvisoryLockError)
})
