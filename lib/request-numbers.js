'use strict'

const { outOfNumbers } = require('./errors.js')
const { GRANT_FACTOR } = require('./native.js')

/** A reply has room for no greater number of an acquire: it is a sum, which is exact up to 2^53. */
const LAST_OF_ACQUIRES = Math.floor(Number.MAX_SAFE_INTEGER / GRANT_FACTOR)

/** The numbers of a thread's requests, from 1 on. */
class RequestNumbers {
  #last

  /** @param {number} last that is taken */
  constructor(last = 0) {
    this.#last = last
  }

  /** Of a request that is granted nothing: there are enough of them to give everything up that has been acquired. */
  next() {
    return ++this.#last
  }

  /** @throws `ERR_INTERNAL`: there is none left, after half a quadrillion calls */
  nextOfAcquire() {
    if (this.#last >= LAST_OF_ACQUIRES) throw outOfNumbers()
    return ++this.#last
  }
}

module.exports = { RequestNumbers }
