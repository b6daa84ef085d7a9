'use strict'

// All users of a semaphore must mean the same number of permits. So whoever uses it holds shared locks that spell its number, one
// for each binary digit; and who begins to use it looks for digits that are spelled otherwise by somebody.

const { semaphoreMismatch } = require('./errors.js')
const { partOfDigit } = require('./semaphore-parts.js')
const { collect, giveBack, takePart, tryPart } = require('./several.js')

const DIGITS = 10

/** The number of permits as one user of a semaphore tells the others. */
class PermitNumber {
  #permits
  #own
  #others
  /** Calls and permits that rely on the number being told. */
  #users = 0
  /** The holds that tell it, once it is told and nobody tells another one. */
  #told

  /**
   * @param {number} permits
   * @param {(part: string) => import('./mutex.js').Locks} toLocks the locks of a key that belongs to the semaphore
   */
  constructor(permits, toLocks) {
    const digits = Array.from({ length: DIGITS }, (_, digit) => (permits >> digit) & 1)
    const spell = (value, digit) => toLocks(partOfDigit(digit, value))
    this.#permits = permits
    this.#own = digits.map((value, digit) => spell(value, digit).inSharedMode())
    this.#others = digits.map((value, digit) => spell(1 - value, digit))
  }

  /**
   * Publishes the number until {@link PermitNumber.withdraw}, unless another call of this semaphore does already.
   *
   * @param {import('./several.js').TimeLeft} left
   * @throws `ERR_SEMAPHORE_MISMATCH`: somebody tells another one. Then there is nothing to withdraw.
   */
  async publish(left) {
    this.#users++
    this.#told ??= this.#tell()
    const told = this.#told
    try {
      await left.race(told)
    } catch (error) {
      this.withdraw()
      throw error
    }
  }

  withdraw() {
    if (--this.#users > 0) return
    const told = this.#told
    this.#told = undefined
    told?.then(giveBack, () => {})
  }

  #tell() {
    const told = this.#spell()
    // Whoever comes next tries again.
    told.catch(() => this.#told === told && (this.#told = undefined))
    return told
  }

  async #spell() {
    // Patiently: somebody may be looking.
    const { holds } = await collect(this.#own.map((part) => takePart(part)))
    try {
      const { holds: looked, denied } = await collect(this.#others.map((part) => tryPart(part)))
      giveBack(looked)
      await this.#refuseOthers(denied)
    } catch (error) {
      giveBack(holds)
      throw error
    }
    // The number is told anew by whoever comes next; a permit does not depend on it.
    for (const hold of holds) hold.whileHeld = () => (this.#told = undefined)
    return holds
  }

  /** Who is in the way of a look either spells that digit, shared, or looks for it as we do. */
  async #refuseOthers(denied) {
    const found = await Promise.all(denied.map((digit) => this.#others[digit].holders()))
    const differ = denied.filter((_, place) => found[place].some(({ granted, mode }) => granted && mode === 'shared'))
    if (differ.length === 0) return
    const other = differ.reduce((number, digit) => number ^ (1 << digit), this.#permits)
    throw semaphoreMismatch(this.#permits, other)
  }
}

module.exports = { PermitNumber }
