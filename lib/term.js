'use strict'

const { toFunction, toInterval } = require('./arguments.js')
const { termOver } = require('./errors.js')
const { givenBy, multiplesOf } = require('./ticks.js')

/** What a leader is given. Its functions need no `this`. */
class Term {
  /** @param {import('./leadership.js').Leadership} leadership */
  constructor(leadership) {
    this.signal = leadership.signal
    Object.assign(this, leadership.fencing)
    this.verify = async () => {
      leadership.throwIfOver()
      const time = await leadership.verify()
      // It may have ended with the lock still held.
      leadership.throwIfOver()
      return new Date(time)
    }
    this.resign = () => leadership.end(termOver('the leader has resigned'))
    this.every = (ms, fn) => leadership.runAt(multiplesOf(toInterval(ms)), toFunction('fn', fn))
    this.schedule = (next, fn) => leadership.runAt(givenBy(toFunction('next', next)), toFunction('fn', fn))
  }
}

module.exports = { Term }
