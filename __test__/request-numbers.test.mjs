// The numbers of requests, where they end.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'

const require = createRequire(import.meta.url)
const { RequestNumbers } = require('../lib/request-numbers.js')
const { GRANT_FACTOR } = require('../lib/native.js')

test('the last number of an acquire is told from its neighbours in a reply with any flags', () => {
  const numbers = new RequestNumbers(2 ** 49 - 3)
  for (const number of [numbers.nextOfAcquire(), numbers.nextOfAcquire()]) {
    for (let flags = 0; flags < GRANT_FACTOR; flags++) {
      const reply = number * GRANT_FACTOR + flags
      assert.ok(Number.isSafeInteger(reply))
      assert.deepEqual([Math.floor(reply / GRANT_FACTOR), reply & (GRANT_FACTOR - 1)], [number, flags])
    }
  }
})

test('there is none behind it, and what is held can still be given up', () => {
  const numbers = new RequestNumbers(2 ** 49 - 1)
  const last = numbers.next()
  assert.equal(last, 2 ** 49)
  for (let attempt = 0; attempt < 2; attempt++) {
    assert.throws(() => numbers.nextOfAcquire(), { code: 'ERR_INTERNAL', message: /no number/ })
  }
  assert.equal(numbers.next(), last + 1)
})
