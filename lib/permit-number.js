'use strict'

// All users of a semaphore must mean the same number of permits. So whoever uses it holds shared locks that spell its number, one
// for each binary digit; and who begins to use it looks for digits that are spelled otherwise by somebody.
//
// Invariant: a permit stands only as long as the locks that spell the number for it. Whoever is told that nobody uses the semaphore
// with another number is told the truth, whatever sessions have died.
//
// Who begins does so in turn: a wrong number is told and taken back before anybody else looks. That is a courtesy. Of two who begin
// at once without it, one at least sees the other, as each tells its own number before it looks.

const { notHeld, semaphoreMismatch } = require('./errors.js')
const { pause } = require('./pause.js')
const { partOfDigit } = require('./semaphore-parts.js')
const { collect, giveBack, giveBackFully, takePart, tryPart } = require('./several.js')
const { ToldNumber } = require('./told-number.js')

const DIGITS = 10
/** So many milliseconds after others were seen to come or go they are looked at again. */
const LOOK_AGAIN = 5

/** The number of permits as one user of a semaphore tells the others. */
class PermitNumber {
  #permits
  /** The keys of each digit, by place and value. @type {import('./mutex.js').Locks[][]} */
  #keys
  #own
  #others
  /** Calls and permits that rely on the number being told. */
  #users = 0
  /** @type {Promise<ToldNumber> | undefined} */
  #told

  /**
   * @param {number} permits
   * @param {(part: string) => import('./mutex.js').Locks} toLocks the locks of a key that belongs to the semaphore
   */
  constructor(permits, toLocks) {
    this.#permits = permits
    this.#keys = Array.from({ length: DIGITS }, (_, place) => [0, 1].map((value) => toLocks(partOfDigit(place, value))))
    const valueOf = (place) => (permits >> place) & 1
    this.#own = this.#keys.map((values, place) => values[valueOf(place)].inSharedMode())
    this.#others = this.#keys.map((values, place) => values[1 - valueOf(place)])
  }

  get isUsed() {
    return this.#users > 0
  }

  /**
   * Publishes the number until {@link PermitNumber.withdraw}, unless another call of this semaphore does already.
   *
   * @param {import('./several.js').TimeLeft} left
   * @returns {Promise<ToldNumber>} what a permit depends on
   * @throws `ERR_SEMAPHORE_MISMATCH`: somebody tells another one. Then there is nothing to withdraw.
   */
  async publish(left) {
    this.#users++
    this.#told ??= this.#tell()
    const told = this.#told
    try {
      return await left.race(told)
    } catch (error) {
      this.withdraw()
      throw error
    }
  }

  withdraw() {
    if (--this.#users > 0) return
    const told = this.#told
    this.#told = undefined
    told?.then((number) => number.giveBack(), () => {})
  }

  #tell() {
    // Whoever comes next tells it anew.
    const forget = () => this.#told === told && (this.#told = undefined)
    const told = this.#spell(forget)
    told.catch(forget)
    return told
  }

  /** Tells the number, and makes sure that nobody tells another one. @param {() => void} onLost */
  async #spell(onLost) {
    do {
      const holds = await this.#tellAndLook()
      if (holds) return new ToldNumber(holds, onLost)
      const other = await this.#read()
      if (other !== undefined && other !== this.#permits) throw semaphoreMismatch(this.#permits, other)
      await pause(LOOK_AGAIN)
    } while (this.#users > 0)
    throw notHeld()
  }

  /** What tells the number, where nobody tells another one. Otherwise nothing of it is held any more. */
  async #tellAndLook() {
    // In this order in one statement: who tells another number and looks has either been seen here, or sees these.
    const telling = collect(this.#own.map((part) => tryPart(part)))
    const looking = this.#isAlone()
    looking.catch(() => {})
    const { holds, denied } = await telling
    try {
      let isAlone = await looking
      if (denied.length > 0) {
        // Somebody was looking at these. What has been seen before they are told counts for nothing.
        const { holds: rest } = await collect(denied.map((place) => takePart(this.#own[place])))
        holds.push(...rest)
        isAlone = await this.#isAlone()
      }
      if (isAlone) return holds
    } catch (error) {
      giveBack(holds)
      throw error
    }
    await giveBackFully(holds)
    return undefined
  }

  /** Whether nobody spells a digit otherwise. */
  async #isAlone() {
    const told = await findTold(this.#others)
    return !told.includes(true)
  }

  /** The number that somebody tells; nothing where nobody does, or where some are about to come or to go. */
  async #read() {
    const told = await findTold(this.#keys.flat())
    let number = 0
    for (let place = 0; place < DIGITS; place++) {
      const [isZero, isOne] = told.slice(2 * place)
      if (isZero === isOne) return undefined
      if (isOne) number |= 1 << place
    }
    return number
  }
}

/** Which of these keys of digits are told by somebody. Who is in the way of a look tells the digit, shared, or looks as we do. */
async function findTold(keys) {
  const { holds, denied } = await collect(keys.map((key) => tryPart(key)))
  giveBack(holds)
  const told = keys.map(() => false)
  if (denied.length === 0) return told
  const shared = await collect(denied.map((place) => tryPart(keys[place].inSharedMode())))
  giveBack(shared.holds)
  denied.forEach((place, index) => (told[place] = !shared.denied.includes(index)))
  return told
}

/** The reliance of one call, and of the slot that it finds, on the number being told. */
class NumberUse {
  /** @type {import('./told-number.js').ToldNumber | undefined} */
  told
  #number

  /** @param {PermitNumber} number */
  constructor(number) {
    this.#number = number
  }

  /** Tells the number, also where it was told and that is lost. @param {import('./several.js').TimeLeft} left */
  async tell(left) {
    this.end()
    this.told = await this.#number.publish(left)
  }

  end() {
    if (this.told) this.#number.withdraw()
    this.told = undefined
  }
}

module.exports = { NumberUse, PermitNumber }
