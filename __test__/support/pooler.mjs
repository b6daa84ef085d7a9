// A pooler of the tests' own, which lends a few server sessions to many clients, in ways that PgBouncer has not.

import { after } from 'node:test'
import pg from 'pg'
import { startListener } from './listener.mjs'
import { authentication, message, ready } from './messages.mjs'

const SSL_REQUEST = 80877103
const CANCEL_REQUEST = 80877102

/**
 * Starts one, which ends with the test file.
 *
 * @param {string} connectionString of the server
 * @param {object} how
 * @param {'session' | 'transaction' | 'holder'} how.mode for how long a server session is lent: until its client leaves; until
 *   its transaction ends; the same, but for as long as an advisory lock is held there. Nothing is reset in between.
 * @param {number} [how.size] of the pool
 * @param {boolean} [how.tellsTruth] whether clients are told the process ids of their first server sessions, and not some others
 */
export async function startPooler(connectionString, { mode, size = 5, tellsTruth = false }) {
  const admin = new pg.Client({ connectionString, application_name: 'plain client' })
  admin.on('error', () => {})
  await admin.connect()
  const holds = async (pid) => {
    const { rows } = await admin.query(`SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = $1) AS holds`, [pid])
    return rows[0].holds
  }
  const free = []
  const waiting = []
  let opened = 0
  const clients = []

  /** A server session that is started; who has it gets what it says. */
  async function open() {
    const client = new pg.Client({ connectionString, application_name: 'pooled' })
    // It is ended behind its back.
    client.on('error', () => {})
    await client.connect()
    clients.push(client)
    const { stream } = client.connection
    stream.removeAllListeners('data')
    const session = { pid: client.processID, stream, holder: undefined }
    stream.on('data', (data) => session.holder?.hear(data))
    stream.on('close', () => session.holder?.near.destroy())
    return session
  }

  async function borrow() {
    if (free.length > 0) return free.pop()
    if (opened < size) {
      opened++
      return open()
    }
    return new Promise((resolve) => waiting.push(resolve))
  }

  /** A server session that is in the middle of something is of no use to anybody else. */
  function throwAway(session) {
    opened--
    session.holder = undefined
    session.stream.destroy()
    const next = waiting.shift()
    if (next) void borrow().then(next)
  }

  function giveBack(session) {
    session.holder = undefined
    const next = waiting.shift()
    if (next) next(session)
    else free.push(session)
  }

  class Client {
    constructor(near) {
      this.near = near
      this.session = undefined
      this.fromClient = Buffer.alloc(0)
      this.fromServer = Buffer.alloc(0)
      /** Requests that are not answered to their end. */
      this.unanswered = 0
      /** Of a transaction. */
      this.isOutside = true
      this.hasBegun = false
      this.work = Promise.resolve()
      near.on('data', (data) => this.say(data))
      near.on('close', () => this.leave())
    }

    say(data) {
      this.fromClient = Buffer.concat([this.fromClient, data])
      while (this.fromClient.length >= (this.hasBegun ? 5 : 4)) {
        const at = this.hasBegun ? 1 : 0
        const length = at + this.fromClient.readInt32BE(at)
        if (this.fromClient.length < length) return
        const whole = this.fromClient.subarray(0, length)
        this.fromClient = this.fromClient.subarray(length)
        this.work = this.work.then(() => this.take(whole))
      }
    }

    async take(whole) {
      if (!this.hasBegun) return this.begin(whole)
      const type = String.fromCharCode(whole[0])
      if (type === 'X') return this.near.end()
      if (!this.session) {
        this.session = await borrow()
        if (this.near.destroyed) return this.leave()
        this.session.holder = this
      }
      if (type === 'S' || type === 'Q') this.unanswered++
      this.session.stream.write(whole)
    }

    async begin(whole) {
      const code = whole.readInt32BE(4)
      if (code === SSL_REQUEST) return this.near.write('N')
      if (code === CANCEL_REQUEST) return this.near.end()
      this.hasBegun = true
      const key = Buffer.alloc(8)
      const told = tellsTruth ? await borrow() : undefined
      key.writeInt32BE(told?.pid ?? 1_000_000_007, 0)
      if (told && mode === 'session') {
        this.session = told
        told.holder = this
      } else if (told) {
        giveBack(told)
      }
      this.near.write(Buffer.concat([authentication(0), message('K', key), ready]))
    }

    hear(data) {
      this.near.write(data)
      this.fromServer = Buffer.concat([this.fromServer, data])
      while (this.fromServer.length >= 5) {
        const length = 1 + this.fromServer.readInt32BE(1)
        if (this.fromServer.length < length) return
        const isReady = this.fromServer[0] === 0x5a
        if (isReady) this.isOutside = this.fromServer[5] === 0x49
        this.fromServer = this.fromServer.subarray(length)
        if (isReady && --this.unanswered === 0 && this.isOutside) this.work = this.work.then(() => this.settle())
      }
    }

    /** A transaction is over. */
    async settle() {
      if (mode === 'session' || !this.session || this.unanswered > 0) return
      if (mode === 'holder' && (await holds(this.session.pid))) return
      const { session } = this
      if (!session || this.unanswered > 0) return
      this.session = undefined
      giveBack(session)
    }

    leave() {
      const { session } = this
      this.session = undefined
      if (!session) return
      if (this.unanswered === 0 && this.isOutside) giveBack(session)
      else throwAway(session)
    }
  }

  const { port } = await startListener((near) => new Client(near))
  after(async () => {
    for (const client of clients) client.connection.stream.destroy()
    await admin.end()
  })
  const url = new URL(connectionString)
  url.host = `127.0.0.1:${port}`
  return { connectionString: url.href, opened: () => opened }
}
