// Random choices that a seed repeats.

import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'

export function choices(seed) {
  const generator = xoroshiro128plus(seed)
  const between = (low, high) => uniformInt(generator, low, high)
  return {
    /** A whole number from `low` to `high`, both included. */
    between,
    chance: (percent) => between(1, 100) <= percent,
    pick: (list) => list[between(0, list.length - 1)],
    /** One of the names, each as likely as its number says. */
    weighted(weights) {
      let left = between(1, Object.values(weights).reduce((sum, weight) => sum + weight))
      return Object.keys(weights).find((name) => (left -= weights[name]) <= 0)
    },
  }
}
