'use strict'

const { Call } = require('./call.js')
const core = require('./client.js')

class Closing extends Call {
  settle() {
    this.resolve()
  }
}

class Asking extends Call {
  settle(_kind, _hold, error, holders) {
    if (error) this.reject(error)
    else this.resolve(holders.map(toHolder))
  }
}

/**
 * What one `advisoryLock(…)` call stands for. It is kept by its mutexes, its holds and its pending calls; when nothing
 * keeps it any more, the core closes it.
 */
class Owner {
  #closing

  /** @param {string} connectionString @param {object} options complete */
  constructor(connectionString, options) {
    this.native = core.openOwner(connectionString, options)
    this.number = this.native.number
  }

  get isClosed() {
    return this.#closing !== undefined
  }

  /** Gives up every hold and ends every wait; resolves when that is done. Always the same promise. */
  close() {
    return (this.#closing ??= this.#close())
  }

  #close() {
    const closing = new Closing()
    const ticket = core.newNumber()
    core.expect(ticket, closing)
    core.open(this.native.close(ticket))
    for (const hold of core.holds.values()) if (hold.owner === this) hold.giveUp()
    return closing.promise
  }

  /** Who holds the key or waits for it on the server. */
  holders({ high, low, flags }) {
    const asking = new Asking()
    const ticket = core.newNumber()
    core.expect(ticket, asking)
    core.open(this.native.holders(high, low, flags, ticket))
    return asking.promise
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
