'use strict'

const core = require('./client.js')

/**
 * What one `advisoryLock(…)` call stands for. It is kept by its mutexes, its holds and its pending calls; when nothing
 * keeps it any more, the core closes it.
 */
class Owner {
  #closing

  /** @param {string} connectionString @param {object} options complete */
  constructor(connectionString, options) {
    this.native = core.openOwner(connectionString, options)
  }

  get isClosed() {
    return this.#closing !== undefined
  }

  /** Gives up every hold and ends every wait; resolves when that is done. Always the same promise. */
  close() {
    return (this.#closing ??= this.#close())
  }

  #close() {
    return new Promise((resolve) => {
      const ticket = core.newNumber()
      core.expect(ticket, () => resolve())
      core.open(this.native.close(ticket))
      for (const hold of core.holds.values()) if (hold.owner === this) hold.giveUp()
    })
  }

  /** Who holds the key or waits for it on the server. */
  holders({ high, low, flags }) {
    return new Promise((resolve, reject) => {
      const ticket = core.newNumber()
      core.expect(ticket, (kind, _, error, holders) => (error ? reject(error) : resolve(holders.map(toHolder))))
      core.open(this.native.holders(high, low, flags, ticket))
    })
  }
}

function toHolder({ pid, applicationName, clientAddress, shared, granted, waitingSince }) {
  return {
    pid,
    applicationName: applicationName ?? null,
    clientAddress: clientAddress ?? null,
    mode: shared ? 'shared' : 'exclusive',
    granted,
    waitingSince: typeof waitingSince === 'number' ? new Date(waitingSince) : null,
  }
}

module.exports = { Owner }
