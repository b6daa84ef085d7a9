'use strict'

const { setTimeout: sleep } = require('node:timers/promises')
const { heldByAncestor } = require('./held-locks.js')
const { reasonOf } = require('./report.js')

/** After so many milliseconds somebody is told whom this process waits for. */
const PATIENCE = 10_000
/** So many milliseconds the server has at least for its first answer, however short the wait for the lock may be. */
const MIN_ANSWER_TIME = 2000
/** So many it has where it is asked once more at the end: the turn of a wait is over by then, even if it could not be cut short. */
const LATE_ANSWER_TIME = 3000
/** Between two attempts to reach the server, in milliseconds: doubled each time. */
const MIN_PAUSE = 100
const MAX_PAUSE = 2000
const LONGEST_TIMER = 2 ** 31 - 1
/** For so many milliseconds a lock that is held around this process is waited for: whoever holds it may be about to end. */
const GRACE = 2000
/** So many holders are named. */
const MOST_NAMED = 3

/** The server is on its way up or down, and says so. */
const STARTING = '57P03'
/** The server is away, or has no room, or no server takes writes: that may be otherwise a moment later. */
const AWAY = new Set([
  ...[STARTING, '57P01', '57P02', '57P05', '53300', '25006', '08000', '08001', '08003', '08004', '08006'],
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ENOENT', 'ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN'],
  ...['ENETUNREACH', 'ENETDOWN', 'ENOTFOUND', 'EAI_AGAIN'],
])

/** The server has said that the lock is taken, and there is no time left to wait. */
class Conflict extends Error {}
/** The lock is held around this very process. */
class SelfWait extends Error {}

/** The wait of a command for its lock: through restarts of the server, within the time that it has, and not in silence. */
class Waiting {
  #mutex
  #job
  #stopped
  #report
  #deadline
  /** When a server has said that the lock is taken. */
  #takenAt
  /** Why there is no connection at the moment. */
  #failure
  #pause = MIN_PAUSE
  #isOver = false

  /**
   * @param {import('../../v2.js').Mutex | import('../../v2.js').Semaphore} mutex
   * @param {import('./arguments.js').Job & { key: [number, number] }} job
   * @param {AbortSignal} stopped ends the wait
   * @param {import('./report.js').Report} report
   */
  constructor(mutex, job, stopped, report) {
    this.#mutex = mutex
    this.#job = job
    this.#stopped = stopped
    this.#report = report
    this.#deadline = performance.now() + job.timeout
  }

  /**
   * Takes the lock. May be called once.
   *
   * @returns {Promise<import('../../v2.js').Unlock>} rejects with a `Conflict` or a `SelfWait`, with the reason of `stopped`,
   *   or with the error of the connection
   */
  async lock() {
    const telling = setTimeout(() => void this.#tell(), PATIENCE)
    try {
      for (;;) {
        try {
          return await this.#attempt()
        } catch (error) {
          this.#stopped.throwIfAborted()
          if (!this.#mayTryAgain(error)) throw error
          if (this.#failure?.code !== error.code) this.#report.say(`${reasonOf(error)}; goes on trying`)
          this.#failure = error
          await sleep(Math.min(this.#pause, this.#left), undefined, { signal: this.#stopped }).catch(() => {})
          this.#stopped.throwIfAborted()
          this.#pause = Math.min(this.#pause * 2, MAX_PAUSE)
        }
      }
    } finally {
      this.#isOver = true
      clearTimeout(telling)
    }
  }

  get #left() {
    return Math.max(0, this.#deadline - performance.now())
  }

  /** Takes the lock on one connection. */
  async #attempt() {
    const { label, permits, shared, timeout } = this.#job
    const lock = shared ? this.#mutex.lockShared : this.#mutex.lock
    this.#report.step(`asks for ${label}${shared ? ', shared' : ''}`)
    const unlock = await this.#try(lock)
    if (unlock) return unlock
    this.#takenAt = performance.now()
    this.#failure = undefined
    this.#pause = MIN_PAUSE
    if (timeout === 0) throw new Conflict(permits === undefined ? 'the lock is taken' : 'all permits are taken')
    try {
      if (await this.#heldAround()) {
        this.#report.step(`${label} is taken by a process around this command, which may be about to end`)
        const soon = await this.#waitBriefly(lock, Math.min(GRACE, this.#left))
        if (soon) return soon
        const ancestor = await this.#heldAround()
        if (ancestor) throw new SelfWait(`${label} is held by the process ${ancestor.pid} around this command, which would wait for itself`)
      }
      this.#report.step(`${label} is taken; waits`)
      // A limit of 0 would not wait for the answer of a server that is asked again.
      return await lock({ timeout: Math.max(1, this.#left), signal: this.#stopped })
    } catch (error) {
      if (error.code !== 'ERR_LOCK_TIMEOUT') throw error
      if (performance.now() - this.#takenAt > MIN_ANSWER_TIME) {
        if (error.cause) throw error.cause
        // The network may have gone silent since.
        const late = await this.#try(lock, LATE_ANSWER_TIME)
        if (late) return late
      }
      throw new Conflict(`${permits === undefined ? 'the lock' : 'a permit'} was not free within ${timeout / 1000} s`)
    }
  }

  #heldAround() {
    return heldByAncestor(this.#job, process.env, this.#mutex.holders)
  }

  /** Waits for the lock, for so many milliseconds at most; resolves to nothing where it stays taken. */
  async #waitBriefly(lock, timeout) {
    try {
      return await lock({ timeout: Math.max(1, timeout), signal: this.#stopped })
    } catch (error) {
      if (error.code !== 'ERR_LOCK_TIMEOUT' || error.cause) throw error
      return undefined
    }
  }

  /** Takes the lock if it is free now; resolves to nothing where it is taken. */
  async #try(lock, answerTime = MIN_ANSWER_TIME) {
    const ending = new AbortController()
    const onStopped = () => ending.abort(this.#stopped.reason)
    this.#stopped.addEventListener('abort', onStopped)
    const limit = this.#failure ? this.#left : Math.max(this.#left, answerTime)
    const onTimeOver = () => ending.abort(this.#failure ?? noAnswer(limit))
    const timer = this.#job.timeout > 0 && limit <= LONGEST_TIMER ? setTimeout(onTimeOver, limit) : undefined
    try {
      return await lock({ timeout: 0, signal: ending.signal })
    } catch (error) {
      if (error.code !== 'ERR_LOCK_TIMEOUT') throw error
      return undefined
    } finally {
      clearTimeout(timer)
      this.#stopped.removeEventListener('abort', onStopped)
    }
  }

  /** Whoever has set no limit and never reached a server has most likely named a wrong one. */
  #mayTryAgain({ code }) {
    const { timeout } = this.#job
    if (this.#left === 0 || !AWAY.has(code)) return false
    return this.#takenAt !== undefined || code === STARTING || timeout < Infinity
  }

  /** Says in one line whom this process waits for. Why it cannot reach the server has been said already. */
  async #tell() {
    if (this.#failure) return
    const { label } = this.#job
    if (this.#takenAt === undefined) return this.#report.say(`still waiting for an answer of the server`)
    const holders = await this.#mutex.holders().catch(() => [])
    if (this.#isOver) return
    const named = holders.filter(({ granted }) => granted).map(describe)
    const others = named.splice(MOST_NAMED).length
    if (others > 0) named.push(`${others} more`)
    this.#report.say(`still waiting for ${label}${named.length > 0 ? `, held by ${named.join(', ')}` : ''}`)
  }
}

const noAnswer = (milliseconds) =>
  Object.assign(new Error(`no server has answered within ${Math.round(milliseconds) / 1000} s`), { code: 'ETIMEDOUT' })

function describe({ pid, applicationName, clientAddress, mode, connectedSince, preparedTransaction }) {
  const what = [pid === null ? 'a prepared transaction' : `session ${pid}`]
  if (preparedTransaction) what.push(JSON.stringify(preparedTransaction))
  if (applicationName) what.push(`of ${JSON.stringify(applicationName)}`)
  if (clientAddress) what.push(`at ${clientAddress}`)
  if (connectedSince) what.push(`since ${connectedSince.toISOString().replace(/\.\d+/, '')}`)
  if (mode === 'shared') what.push('(shared)')
  return what.join(' ')
}

module.exports = { Conflict, SelfWait, Waiting }
