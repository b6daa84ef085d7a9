// Breaks things at random: sessions, links, processes, the server.

import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { now } from './team.mjs'

/** How often each, in proportion. */
const WEIGHTS = { terminate: 30, cancel: 15, cut: 20, silence: 12, kill: 8, restart: 4 }
const ENDS_SESSIONS = new Set(['terminate', 'cut', 'restart'])
/** How long a silence lasts, in milliseconds. */
const SILENCES = [[500, 2000], [500, 12_000]]
/** For this long the news of a session's end may be on its way, be caught by a silence, or be read after a grant of that time. */
const ON_THE_WAY = 300

const BACKENDS = `SELECT pid FROM pg_stat_activity LEFT JOIN (
    SELECT pid, bool_or(granted) AS holds FROM pg_locks WHERE locktype = 'advisory' GROUP BY pid
  ) AS locks USING (pid)
  WHERE application_name = 'soak' ORDER BY holds AND random() < 0.7 DESC, random() LIMIT $1`

export class Faults {
  #server
  #team
  #checker
  #choices
  #silences = new Set()
  /** Silent members: since when, and since when the server has ended sessions of which they cannot hear. */
  #silent = new Map()
  #sessionsEnded = -Infinity

  /** What was broken when, to explain what is found: `{ at, text }`. */
  history = []
  /** How many of each there were. */
  counts = Object.fromEntries(Object.keys(WEIGHTS).map((kind) => [kind, 0]))

  constructor(server, team, checker, choices) {
    this.#server = server
    this.#team = team
    this.#checker = checker
    this.#choices = choices
  }

  /** Up to when it is known who was deaf. */
  get horizon() {
    return Math.min(...[...this.#silent.values()].map(({ begin }) => begin - ON_THE_WAY))
  }

  /** Breaks things until the time is over or no process is left, then leaves everything whole. */
  async run(milliseconds) {
    const end = performance.now() + milliseconds
    for (;;) {
      await sleep(this.#choices.between(20, 500))
      if (performance.now() > end || this.#team.living.length === 0) break
      const kind = this.#choices.weighted(WEIGHTS)
      const begin = now()
      const ending = ENDS_SESSIONS.has(kind) && this.#checker.ending(begin)
      const whom = await this[kind]()
      if (ending) ending.to = now() + ON_THE_WAY
      this.counts[kind]++
      this.#note(begin, whom === undefined ? kind : `${kind} ${whom}`)
    }
    await Promise.all(this.#silences)
  }

  #note(at, text) {
    this.history.push({ at, text: `${text}, done at ${now().toFixed(1)}` })
  }

  async #toBackends(action) {
    const client = new pg.Client(this.#server.connectionString())
    await client.connect()
    const count = this.#choices.between(1, 3)
    await client.query(`SELECT ${action}(pid) FROM (${BACKENDS}) AS backends`, [count])
    await client.end()
  }

  #endingSessions() {
    this.#sessionsEnded = now()
    for (const silence of this.#silent.values()) silence.deafSince ??= this.#sessionsEnded
  }

  terminate() {
    this.#endingSessions()
    return this.#toBackends('pg_terminate_backend')
  }

  cancel() {
    return this.#toBackends('pg_cancel_backend')
  }

  cut() {
    const { number, proxy } = this.#choices.pick(this.#team.living)
    proxy.cut()
    return `process ${number}`
  }

  silence() {
    const member = this.#choices.pick(this.#team.living)
    if (this.#silent.has(member)) return 'once more'
    member.proxy.silence()
    const begin = now()
    const deafSince = begin - this.#sessionsEnded < ON_THE_WAY ? begin - ON_THE_WAY : undefined
    this.#silent.set(member, { begin, deafSince })
    const over = sleep(this.#choices.between(...this.#choices.pick(SILENCES))).then(() => {
      const since = this.#silent.get(member).deafSince
      member.proxy.heal()
      if (since !== undefined) this.#checker.deaf(member.number, since, now() + ON_THE_WAY)
      this.#silent.delete(member)
      this.#note(now(), `end of the silence around process ${member.number}${since === undefined ? '' : ', which was deaf'}`)
      this.#silences.delete(over)
    })
    this.#silences.add(over)
    return `process ${member.number}`
  }

  async kill() {
    const member = this.#choices.pick(this.#team.living)
    await this.#team.kill(member)
    await this.#team.start()
    return `process ${member.number}`
  }

  async restart() {
    this.#endingSessions()
    await this.#server.halt(this.#choices.pick(['fast', 'immediate']))
    await sleep(this.#choices.between(0, 500))
    await this.#server.resume()
  }
}
