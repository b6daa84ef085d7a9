'use strict'

// A mutex of many keys: all or nothing, without a deadlock whatever the order of the names.

const { takeFenced } = require('./fencing.js')
const { HoldOfSeveral, LocksOfSeveral, collect, giveBack, takePart, tryPart } = require('./several.js')

/**
 * So often all keys are tried at once, and the one that is taken waited for with nothing held. Then they are taken one after the
 * other in their order, so that nobody starves whose keys are never free at the same time.
 */
const ROUNDS = 3

class LocksOfAll extends LocksOfSeveral {
  /** Of the keys, in the order in which they were given. @type {(string | null)[]} */
  name
  #parts
  #given

  /**
   * @param {import('./owner.js').Owner} owner
   * @param {import('./several.js').Contract} contract
   * @param {import('./mutex.js').Locks[]} parts one for each key, in the order of the keys
   * @param {{ names: (string | null)[], keys: unknown[] }} given
   */
  constructor(owner, contract, parts, given) {
    super(owner, contract)
    this.#parts = parts
    this.name = given.names
    this.#given = given
  }

  get given() {
    return this.name.map((name, index) => name ?? this.#given.keys[index])
  }

  describe() {
    return { name: this.name, key: this.#given.keys, mode: this.#parts[0].describe().mode }
  }

  inSharedMode() {
    return new LocksOfAll(this.owner, this.contract, this.#parts.map((part) => part.inSharedMode()), this.#given)
  }

  forElection(owner) {
    return new LocksOfAll(owner, this.contract, this.#parts.map((part) => part.forElection(owner)), this.#given)
  }

  async takeUntraced(limits) {
    const take = () => super.takeUntraced(limits)
    return limits?.fencing ? takeFenced(this.owner, limits, take) : take()
  }

  async tryTake(signal) {
    const { holds, denied } = await collect(this.#parts.map((part) => tryPart(part, signal && { timeout: Infinity, signal })))
    if (denied.length === 0) return new HoldOfSeveral(this, holds)
    giveBack(holds)
    return undefined
  }

  async take(left) {
    return new HoldOfSeveral(this, (await this.#takeTogether(left)) ?? (await this.#takeInOrder(left)))
  }

  async #takeTogether(left) {
    let taken
    for (let round = 0; round < ROUNDS; round++) {
      const waited = taken ? [await takePart(taken, left.limits())] : []
      const rest = this.#parts.filter((part) => part !== taken)
      const tried = await collectBeside(waited, rest, left)
      if (tried.denied.length === 0) return [...waited, ...tried.holds]
      giveBack([...waited, ...tried.holds])
      taken = rest[tried.denied[0]]
    }
    return undefined
  }

  /** Never holds a key while it waits for one before it. What is free behind it is taken at once. */
  async #takeInOrder(left) {
    const holds = []
    try {
      for (;;) {
        const rest = this.#parts.slice(holds.length)
        // Once: where no time is left nothing must have begun.
        const limits = left.limits()
        const tried = await collect(rest.map((part) => tryPart(part, limits)))
        const count = tried.denied[0] ?? rest.length
        holds.push(...tried.holds.slice(0, count))
        giveBack(tried.holds.slice(count))
        if (count === rest.length) return holds
        holds.push(await takePart(rest[count], left.limits()))
      }
    } catch (error) {
      giveBack(holds)
      throw error
    }
  }

  /** Who holds one of the keys or waits for it. */
  async holders() {
    const found = await Promise.all(this.#parts.map((part) => part.holders()))
    return found.flat()
  }
}

/** Tries the rest of the keys while some are held, which are given back where that fails. */
async function collectBeside(held, rest, left) {
  try {
    const limits = left.limits()
    return await collect(rest.map((part) => tryPart(part, limits)))
  } catch (error) {
    giveBack(held)
    throw error
  }
}

module.exports = { LocksOfAll }
