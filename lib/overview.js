'use strict'

const { toConnection } = require('./connection.js')
const { toLocksOptions } = require('./arguments.js')
const { fromFailures } = require('./errors.js')
const native = require('./native.js')
const { toConfig } = require('./owner.js')

/** All locks of a database, seen on a connection of its own. */
class Overview {
  #native
  /** Those who wait for an answer, in the order of their asking. */
  #asking = []

  constructor(connectionString, options) {
    const config = toConfig(toConnection(connectionString), toLocksOptions(options))
    this.#native = new native.Overview(config, (failures, found) => {
      const { resolve, reject } = this.#asking.shift()
      if (failures.length > 0) reject(fromFailures(failures))
      else resolve(found)
    })
  }

  /** Who holds a lock of the database or waits for it. @returns {Promise<import('../binding.js').LockUseData[]>} */
  look() {
    return new Promise((resolve, reject) => {
      this.#asking.push({ resolve, reject })
      this.#native.look()
    })
  }
}

module.exports = { Overview }
