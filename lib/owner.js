'use strict'

const { Call } = require('./call.js')
const { clientClosed, invalidValue } = require('./errors.js')
const { HoldList } = require('./hold-list.js')
const mailbox = require('./mailbox.js')
const native = require('./native.js')

/** A call that is about an owner as a whole. */
class CallOfOwner extends Call {
  /** @param {Owner} owner */
  constructor(owner) {
    super()
    this.owner = owner
  }
}

class Closing extends CallOfOwner {
  settle() {
    this.resolve()
  }
}

class Asking extends CallOfOwner {
  settle(_kind, _hold, error, holders) {
    if (error) this.reject(error)
    else this.resolve(holders.map(toHolder))
  }
}

/** By JavaScript's own view: a worker and a test runner may have another than the process has. */
const variable = (name) => {
  const value = process.env[name]
  return value === undefined || value === null ? undefined : String(value)
}

/** What the core reads of a connection as {@link toConnection} makes it, and of complete options. */
function toConfig({ description, desk, connectTimeout }, options) {
  const limit = options.connectTimeout ?? connectTimeout
  const config = new native.Config(description, { ...options, connectTimeout: limit }, variable, desk)
  if (config.conflict) throw invalidValue(config.conflict)
  return config
}

/**
 * What one `advisoryLock(…)` call stands for. It is kept by its mutexes, its holds and its pending calls; when nothing
 * keeps it any more, the core closes it.
 */
class Owner {
  /** By which the core knows it; 0 until the first call. */
  number = 0
  /** Kept for the core, which asks it as long as somebody can need a session. */
  passwordFunction
  #config
  #closing
  /** Those that have not ended. @type {Set<import('./election.js').Election> | undefined} */
  #elections
  /** Of single keys. */
  holds = new HoldList()
  /** What it has of locks of several keys, which the core knows by their parts alone. */
  several = { holds: new Set(), waits: new Set(), queues: new Map() }

  /** @param {boolean} publishesNames whether its sessions say in the database what they hold */
  constructor(config, passwordFunction, publishesNames) {
    this.#config = config
    this.passwordFunction = passwordFunction
    this.publishesNames = publishesNames
  }

  /** @param {object} connection as {@link toConnection} makes it @param {object} options complete */
  static of(connection, options) {
    return new Owner(toConfig(connection, options), connection.password, options.publishNames)
  }

  /** Another owner with the same settings, which is closed by itself. */
  another() {
    return new Owner(this.#config, this.passwordFunction, this.publishesNames)
  }

  /** Until it has ended, an election is stopped with its owner. */
  addElection(election) {
    this.#elections ??= new Set()
    this.#elections.add(election)
    void election.ended.then(() => this.#elections.delete(election))
  }

  /** The owner itself, and those that stand for election by its locks. */
  andElections() {
    return [this, ...Array.from(this.#elections ?? [], (election) => election.owner)]
  }

  /** Most locks that are held at a time through a transaction pooler; `Infinity` where none is worked through. */
  get mostPinned() {
    return this.#config.maxPinnedConnections ?? Infinity
  }

  get isClosed() {
    return this.#closing !== undefined
  }

  /** Makes it known to the core, for its first call. */
  open() {
    if (this.isClosed) throw clientClosed()
    this.native = new native.Owner(mailbox.toClient(), this.#config)
    this.number = this.native.number
  }

  /** Gives up every hold and ends every wait; resolves when that is done. Always the same promise. */
  close() {
    return (this.#closing ??= this.#close())
  }

  async #close() {
    // Each of them gives its lock up when its leader has come to an end.
    const elections = Array.from(this.#elections ?? [], (election) => election.stop())
    await Promise.all([this.#closeNative(), ...elections])
  }

  #closeNative() {
    // It has made no call, and will make none.
    if (this.number === 0) return Promise.resolve()
    const closed = mailbox.ask(new Closing(this), (ticket) => this.native.close(ticket))
    for (const hold of this.holds) hold.markReleased()
    for (const hold of [...this.several.holds]) hold.markReleased()
    return closed
  }

  /** Who holds the key or waits for it on the server. */
  async holders({ high, low, flags }) {
    if (this.number === 0) this.open()
    return mailbox.ask(new Asking(this), (ticket) => this.native.holders(high, low, flags, ticket))
  }
}

const toDate = (time) => (typeof time === 'number' ? new Date(time) : null)

function toHolder({ pid, applicationName, clientAddress, shared, granted, waitingSince, connectedSince, preparedTransaction }) {
  return {
    pid: pid ?? null,
    applicationName: applicationName ?? null,
    clientAddress: clientAddress ?? null,
    mode: shared ? 'shared' : 'exclusive',
    granted,
    waitingSince: toDate(waitingSince),
    connectedSince: toDate(connectedSince),
    preparedTransaction: preparedTransaction ?? null,
  }
}

module.exports = { Owner, toConfig }
