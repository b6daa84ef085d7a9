// The map of requests and holds, beside a `Map` that is asked for the same.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { choices } from './support/random.mjs'

const { ByNumber } = createRequire(import.meta.url)('../lib/by-number.js')

for (const [title, most] of [
  ['one at a time', 1],
  ['a few at a time', 20],
  ['many at a time', 3000],
]) {
  test(`agrees with a Map: ${title}`, () => {
    const { between, chance, pick } = choices(most)
    const ours = new ByNumber()
    const model = new Map()
    let last = 0
    for (let step = 0; step < 30_000; step++) {
      // Numbers are taken without being used, and used a little later than they were taken.
      last += between(1, 3)
      const number = Math.max(1, last - between(0, 200))
      if (model.size < most && !model.has(number)) {
        ours.set(number, { number })
        model.set(number, number)
      }
      const other = chance(50) && model.size > 0 ? pick([...model.keys()].slice(0, 50)) : between(1, last)
      assert.equal(ours.get(other)?.number, model.get(other))
      if (model.size >= most || chance(45)) assert.equal(ours.delete(other), model.delete(other))
      if (step % 1000 === 0) {
        const values = [...ours.values()].map(({ number: value }) => value).sort((a, b) => a - b)
        assert.deepEqual(values, [...model.keys()].sort((a, b) => a - b))
      }
    }
    for (const number of model.keys()) assert.equal(ours.delete(number), true)
    assert.deepEqual([...ours.values()], [])
  })
}

test('values may be deleted while they are gone through', () => {
  const map = new ByNumber()
  for (let number = 0; number < 1000; number++) map.set(number, number)
  const seen = []
  for (const number of map.values()) {
    seen.push(number)
    map.delete(number)
  }
  assert.equal(seen.length, 1000)
  assert.deepEqual([...map.values()], [])
})
