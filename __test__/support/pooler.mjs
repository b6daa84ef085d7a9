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
 * @param {'session' | 'transaction' | 'holder' | 'statement'} how.mode for how long a server session is lent: until its client
 *   leaves; until its transaction ends; the same, but for as long as an advisory lock is held there; for a statement, whether or
 *   not a transaction is open. Nothing is reset in between.
 * @param {number} [how.size] of the pool
 * @param {boolean | 'later'} [how.rotates] whether each transaction gets the session that has been free for the longest time; or
 *   each but a client's first
 * @param {boolean} [how.rollsBack] whether the transaction of a client that is gone is rolled back, and its session lent again
 * @param {(times: number) => boolean | Promise<boolean>} [how.keeps] whether a session with an advisory lock stays with its client
 *   once more, where it does; it is asked after each transaction
 * @param {boolean} [how.tellsTruth] whether clients are told the process ids of their first server sessions, and not some others
 */
export async function startPooler(connectionString, how) {
  const { mode, size = 5, rotates = false, rollsBack = false, tellsTruth = false, keeps = () => true } = how
  const admin = new pg.Client({ connectionString, application_name: 'plain client' })
  admin.on('error', () => {})
  await admin.connect()
  let asking = Promise.resolve()
  const holds = (pid) => (asking = asking.then(() => askWhetherItHolds(pid)))
  const askWhetherItHolds = async (pid) => {
    const asked = admin.query(`SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = $1) AS holds`, [pid])
    // When the test file is over nobody needs the answer any more.
    const { rows } = await asked.catch(() => ({ rows: [{ holds: true }] }))
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

  /** @param {boolean} isLater whether it is for another transaction of a client than its first */
  async function borrow(isLater = false) {
    const isOldest = rotates === 'later' ? isLater : rotates
    // All of them are in use from the first on.
    if (isOldest && opened < size) {
      opened++
      return open()
    }
    if (free.length > 0) return isOldest ? free.shift() : free.pop()
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

  /** Ends what a client has left that is gone, and lends the session again. */
  function rollBack(session) {
    const answer = { near: session.holder.near, heard: Buffer.alloc(0) }
    session.holder = {
      near: answer.near,
      hear(data) {
        answer.heard = Buffer.concat([answer.heard, data])
        for (let at = 0; at + 5 <= answer.heard.length; at += 1 + answer.heard.readInt32BE(at + 1)) {
          if (answer.heard[at] === 0x5a && answer.heard[at + 5] === 0x49) return giveBack(session)
        }
      },
    }
    session.stream.write(message('Q', Buffer.from('ROLLBACK\0')))
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
      this.hasBorrowed = false
      this.work = Promise.resolve()
      /** How often it has kept its session for a lock. */
      this.kept = 0
      /** The answer to the statement before, where each has a server session of its own. */
      this.answered = Promise.resolve()
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
      if (mode === 'statement') await this.answered
      if (!this.session) {
        this.session = await borrow(this.hasBorrowed)
        this.hasBorrowed = true
        if (this.near.destroyed) return this.leave()
        this.session.holder = this
      }
      if (type === 'S' || type === 'Q') {
        this.unanswered++
        this.answered = new Promise((resolve) => (this.onAnswered = resolve))
      }
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
        if (isReady && --this.unanswered === 0 && (this.isOutside || mode === 'statement')) this.onReady()
      }
    }

    /** Nothing is under way for the client. */
    onReady() {
      if (mode !== 'statement') {
        this.work = this.work.then(() => this.settle())
        return
      }
      const { session } = this
      this.session = undefined
      if (session) giveBack(session)
      this.onAnswered()
    }

    /** A transaction is over. */
    async settle() {
      if (mode === 'session' || !this.session || this.unanswered > 0) return
      if (mode === 'holder' && (await holds(this.session.pid)) && (await keeps(++this.kept))) return
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
      else if (rollsBack && this.unanswered === 0) rollBack(session)
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
