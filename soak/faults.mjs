// Breaks things at random: sessions, links, processes, threads, the server.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Deafness, ON_THE_WAY } from './deafness.mjs'
import { now } from './team.mjs'

/** How often each, in proportion. */
const WEIGHTS = { terminate: 30, cancel: 15, cut: 20, silence: 12, kill: 8, restart: 4, stop: 8, block: 8, freeze: 6 }
/** How long a silence lasts, in milliseconds, or how long a process is stopped, a thread blocked, a backend frozen. */
const DURATIONS = [[500, 2000], [500, 12_000]]
/** After a silence of so many milliseconds the process may have given its sessions up. */
const GIVES_UP = 4000

const BACKENDS = `SELECT pid FROM pg_stat_activity LEFT JOIN (
    SELECT pid, bool_or(granted) AS holds FROM pg_locks WHERE locktype = 'advisory' GROUP BY pid
  ) AS locks USING (pid)
  WHERE application_name LIKE 'soak%' ORDER BY holds AND random() < 0.7 DESC, random() LIMIT $1`

export class Faults {
  #server
  #team
  #checker
  #choices
  /** What is broken for a while: promises of its end. */
  #lasting = new Set()
  #deafness
  /** When the fault began that is under way, if there is one. */
  #begin = Infinity

  /** What was broken when, to explain what is found: `{ at, text }`. */
  history = []
  /** How many of each there were. */
  counts = Object.fromEntries(Object.keys(WEIGHTS).map((kind) => [kind, 0]))

  constructor(server, team, checker, choices) {
    this.#server = server
    this.#team = team
    this.#checker = checker
    this.#deafness = new Deafness(checker)
    this.#choices = choices
  }

  /** Up to when it is known who was deaf, and whose sessions were ended. */
  get horizon() {
    return Math.min(this.#deafness.horizon, this.#begin, now() - ON_THE_WAY)
  }

  /** Breaks things until the time is over or no process is left, then leaves everything whole. */
  async run(milliseconds) {
    const end = performance.now() + milliseconds
    for (;;) {
      await sleep(this.#choices.between(20, 500))
      if (performance.now() > end || this.#team.living.length === 0) break
      const kind = this.#choices.weighted(WEIGHTS)
      this.#begin = now()
      const whom = await this[kind]()
      this.counts[kind]++
      this.#note(this.#begin, whom === undefined ? kind : `${kind} ${whom}`)
      this.#begin = Infinity
    }
    await Promise.all(this.#lasting)
  }

  #note(at, text) {
    this.history.push({ at, text: `${text}, done at ${now().toFixed(1)}` })
  }

  async #backends(work) {
    const client = new pg.Client(this.#server.connectionString())
    await client.connect()
    const result = await work(client, this.#choices.between(1, 3))
    await client.end()
    return result
  }

  /** Does something to some backends. Resolves to the members whose they are. */
  async #toBackends(action) {
    const query = `SELECT application_name, ${action}(pid) FROM (${BACKENDS}) AS backends JOIN pg_stat_activity USING (pid)`
    const { rows } = await this.#backends((client, count) => client.query(query, [count]))
    const numbers = rows.map(({ application_name: name }) => Number.parseInt(name.slice('soak '.length)))
    return this.#team.living.filter(({ number }) => numbers.includes(number))
  }

  /** Nobody of this member hears anything until `over`. */
  #deafen(member, what, over) {
    const end = this.#deafness.begin(member)
    this.#last(over, () => {
      const hasMissed = end()
      this.#note(now(), `process ${member.number} is not ${what} any more${hasMissed ? ', and has missed something' : ''}`)
    })
    return `process ${member.number}`
  }

  #last(over, end) {
    const lasting = over.then(() => {
      this.#lasting.delete(lasting)
      end()
    })
    this.#lasting.add(lasting)
  }

  #duration() {
    return this.#choices.between(...this.#choices.pick(DURATIONS))
  }

  /** Half the time one that is deaf already: two faults at once find what one does not. */
  #member() {
    const deaf = this.#team.living.filter((member) => this.#deafness.has(member))
    return this.#choices.pick(deaf.length > 0 && this.#choices.chance(50) ? deaf : this.#team.living)
  }

  async terminate() {
    const members = await this.#toBackends('pg_terminate_backend')
    this.#sessionsEnded(members)
    return toText(members)
  }

  async cancel() {
    return toText(await this.#toBackends('pg_cancel_backend'))
  }

  cut() {
    const members = [this.#choices.pick(this.#team.living)]
    members[0].proxy.cut()
    this.#sessionsEnded(members)
    return toText(members)
  }

  silence() {
    const member = this.#member()
    if (member.isSilent) return 'once more'
    member.isSilent = true
    member.proxy.silence()
    const duration = this.#duration()
    const over = sleep(duration).then(() => {
      // What it has given up meanwhile ends on the server now, of which its threads may still know nothing.
      if (duration >= GIVES_UP) this.#deafness.sessionsEnd(member)
      member.proxy.heal()
      member.isSilent = false
    })
    return this.#deafen(member, 'silent', over)
  }

  /** The whole process, as a debugger or a frozen container does it. */
  stop() {
    const member = this.#member()
    return this.#deafen(member, 'stopped', stopFor([member.child.pid], this.#duration()))
  }

  /** Its JavaScript thread alone: the others go on. */
  block() {
    const member = this.#member()
    return this.#deafen(member, 'blocked', this.#team.block(member, this.#duration()))
  }

  /** Backends, of which nobody is told: their clients find out. */
  async freeze() {
    const backends = await this.#backends((client, count) => client.query(`SELECT pid FROM (${BACKENDS}) AS backends`, [count]))
    const pids = backends.rows.map(({ pid }) => pid)
    if (pids.length === 0) return 'nobody'
    // Then those end that were to be ended, or whose clients have given them up.
    this.#last(stopFor(pids, this.#duration()), () => {
      this.#sessionsEnded(this.#team.living, now() - ON_THE_WAY)
    })
    return `backends ${pids.join(', ')}`
  }

  async kill() {
    const member = this.#choices.pick(this.#team.living)
    await this.#team.kill(member)
    await this.#team.start()
    return `process ${member.number}`
  }

  async restart() {
    await this.#server.halt(this.#choices.pick(['fast', 'immediate']))
    await sleep(this.#choices.between(0, 500))
    await this.#server.resume()
    this.#sessionsEnded(this.#team.living)
  }

  /** Sessions of these members have ended since then, each at a moment that nobody knows. */
  #sessionsEnded(members, since = this.#begin) {
    for (const member of members) {
      this.#checker.ending(member.number, since, now() + ON_THE_WAY)
      this.#deafness.sessionsEnd(member, since)
    }
  }
}

const toText = (members) => `process ${members.map(({ number }) => number).join(', ')}`

/** Stops processes, and lets them go on even where this one is killed meanwhile. Resolves when they go on. */
async function stopFor(pids, milliseconds) {
  const script = 'kill -s STOP "$@"; sleep $0; kill -s CONT "$@"'
  const stopper = spawn('sh', ['-c', script, String(milliseconds / 1000), ...pids.map(String)], { stdio: 'ignore', detached: true })
  await once(stopper, 'exit')
}
