// `npm run soak -- --pooled`: processes add to counters in a table, by reading and then writing, each while it holds the counter's
// lock through PgBouncer in transaction mode, with two server connections or five. Processes, poolers and server sessions are
// killed meanwhile. Beside them one lock is held from the first to the last second, which must be in nobody's way.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import advisoryLock from '../index.js'
import { startPgBouncer } from '../__test__/support/pgbouncer.mjs'
import { ExclusionChecker } from './checker.mjs'

const SCRIPT = fileURLToPath(new URL('pooled-callers.mjs', import.meta.url))
const POOLS = [2, 5]
const NAMES = [...'abcd']
const RECORDS = 3
/** Milliseconds between the end of a transaction on the server and the news of it at its holder, on a loaded machine. */
const NOTICE = 1000
/** For so many milliseconds what a fault has ended may still be on its way. */
const ON_THE_WAY = 300
const WEIGHTS = { kill: 4, terminate: 6, restart: 1 }
/** How calls may end meanwhile. */
const EXPECTED = new Set(['done', 'denied', 'ERR_LOCK_LOST', 'ERR_LOCK_TIMEOUT', 'ECONNRESET', 'ECONNREFUSED', 'EPIPE', '53300', '57P01', '08P01', '58000'])
/** A pool of a held lock, and the backend that has it. */
const HELD = `SELECT a.pid, a.backend_xmin, a.backend_xid, (SELECT count(*)::int FROM pg_locks l WHERE l.pid = a.pid AND locktype = 'relation') AS relations
  FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE l.locktype = 'advisory' AND l.granted
  AND l.classid = $1::int8 & 4294967295 AND l.objid = $2::int8 & 4294967295`

const now = () => Number(process.hrtime.bigint()) / 1e6

/** Whether all was well. */
export async function soakPooled(server, { seconds, processes, callers }, { between, pick, weighted }) {
  const failures = []
  const observer = new pg.Client(server.connectionString())
  await observer.connect()
  await observer.query('CREATE TABLE counters (name text PRIMARY KEY, value int NOT NULL, writers text[]); CREATE TABLE garbage (id int PRIMARY KEY, text text)')
  for (const name of NAMES) await observer.query('INSERT INTO counters VALUES ($1, 0)', [name])
  const start = (size) => startPgBouncer(server.connectionString(), 'transaction', { default_pool_size: size, max_client_conn: 1000, server_login_retry: 1 })
  const poolers = await Promise.all(POOLS.map(start))
  const checker = new ExclusionChecker(NOTICE)
  const faults = { kill: 0, terminate: 0, restart: 0 }
  const team = new Counters({ direct: server.connectionString(), names: NAMES, callers }, checker, failures, between)
  for (let number = 0; number < processes; number++) team.start(poolers[number % poolers.length].connectionString)
  /** When the fault began that is under way, if there is one. */
  let begin = Infinity
  const judging = setInterval(() => checker.judge(Math.min(team.horizon, begin)), 500)
  const end = now() + seconds * 1000
  const holding = hold(server, await start(2), end, failures)
  while (now() < end) {
    await sleep(between(500, 3000))
    const kind = weighted(WEIGHTS)
    begin = now()
    if (kind === 'kill') await team.replace(pick(team.living))
    if (kind === 'terminate') {
      await observer.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SHOW advisory_lock_native%'
        AND state = 'idle in transaction' AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 7) ORDER BY random() LIMIT 1`)
    }
    if (kind === 'restart') {
      const pooler = pick(poolers)
      await pooler.kill()
      await sleep(between(0, 300))
      await pooler.start()
    }
    if (kind !== 'kill') for (const { number } of team.living) checker.ending(number, begin, now() + ON_THE_WAY)
    begin = Infinity
    faults[kind]++
  }
  await team.stop(60_000)
  clearInterval(judging)
  checker.judge()
  team.judgeCollisions()
  const held = await holding
  const { rows } = await observer.query('SELECT sum(value)::int AS value FROM counters')
  const [{ value }] = rows
  if (value < team.added || value > team.added + faults.kill * callers) failures.push(`${team.added} were added, ${value} counted`)
  await observer.end()
  await Promise.all(poolers.map((pooler) => pooler.stop()))
  console.log(`faults: ${list(faults)}`)
  for (const [outcome, count] of team.outcomes) if (!EXPECTED.has(outcome)) failures.push(`a call ended with ${outcome}, ${count} times`)
  console.log(`calls: ${list(Object.fromEntries(team.outcomes))}`)
  console.log(`${checker.count} critical sections, ${value} counted, ${team.late} late writes of who had just lost a lock or was killed; ${checker.overlaps} begun before the news of a loss (by ${checker.longestOverlap.toFixed(1)} ms at most)`)
  console.log(`held for ${held.seconds.toFixed(0)} s: looked at ${held.looks} times, VACUUM ${held.vacuums} times, CREATE INDEX CONCURRENTLY for ${held.slowest.toFixed(0)} ms at most`)
  if (value < seconds * 5) failures.push('too little happened to prove anything')
  for (const { message, earlier, later } of checker.violations) failures.push([message, JSON.stringify(earlier), JSON.stringify(later)].join('\n  '))
  for (const failure of failures) console.error(`soak: ${failure}`)
  console.log(failures.length === 0 ? 'soak: no two were inside, and the lock that was held was in nobody’s way' : 'soak: FAILED')
  return failures.length === 0
}

/** Holds one lock until that time, and looks whether that is in the way of anything. */
async function hold(server, pooler, end, failures) {
  const createMutex = advisoryLock(`${pooler.connectionString}?pgbouncer=true`)
  const found = { seconds: 0, looks: 0, vacuums: 0, slowest: 0 }
  const client = new pg.Client(server.connectionString())
  await client.connect()
  const since = now()
  try {
    const unlock = await createMutex([7, 7]).lock()
    while (now() < end) {
      await sleep(5000)
      const { rows } = await client.query(HELD, [7, 7])
      found.looks++
      const [{ backend_xmin, backend_xid, relations }] = rows
      if (backend_xmin !== null || backend_xid !== null || relations > 0) failures.push(`the hold has ${JSON.stringify(rows)}`)
      await client.query("INSERT INTO garbage SELECT n, repeat('x', 100) FROM generate_series(1, 5000) n")
      const begin = now()
      await client.query('CREATE INDEX CONCURRENTLY garbage_text ON garbage (text)')
      found.slowest = Math.max(found.slowest, now() - begin)
      await client.query('DROP INDEX garbage_text; DELETE FROM garbage')
      await vacuumed(client)
      found.vacuums++
    }
    found.seconds = (now() - since) / 1000
    if (unlock.signal.aborted) failures.push(`the lock that was held is lost: ${unlock.signal.reason}`)
    await unlock()
  } catch (error) {
    failures.push(`the lock that is held: ${error}`)
  }
  await Promise.all([createMutex.close(), client.end()])
  await pooler.stop()
  return found
}

/** Cleans the table up until nothing is left of it, for which statements of others may have to end first. */
async function vacuumed(client) {
  for (let attempt = 0; attempt < 50; attempt++) {
    await client.query('VACUUM garbage')
    const { rows } = await client.query("SELECT pg_relation_size('garbage')::int AS size")
    if (rows[0].size === 0) return
    await sleep(100)
  }
  throw new Error('VACUUM leaves dead rows')
}

/** The processes that count. */
class Counters {
  #members = new Set()
  #settings
  #checker
  #failures
  #between
  #started = 0
  /** Sections whose holder was told of its loss, or was killed: what such a holder has sent may still be written. */
  #cut = new Set()
  #collisions = []

  /** How many have been added for sure, and how many writes came when their lock was not the writer's any more. */
  added = 0
  late = 0
  outcomes = new Map()

  constructor(settings, checker, failures, between) {
    this.#settings = settings
    this.#checker = checker
    this.#failures = failures
    this.#between = between
  }

  get living() {
    return [...this.#members]
  }

  get horizon() {
    return Math.min(...this.living.map(({ seen }) => seen))
  }

  start(pooled) {
    const number = this.#started++
    const parameters = { ...this.#settings, number, pooled, seed: this.#between(0, 2 ** 31 - 1) }
    const child = spawn(process.execPath, ['--unhandled-rejections=strict', SCRIPT, JSON.stringify(parameters)], { stdio: ['pipe', 'inherit', 'inherit', 'pipe'] })
    child.stdin.on('error', () => {})
    const member = { number, pooled, child, seen: now(), sections: new Set() }
    this.#members.add(member)
    const records = createInterface({ input: child.stdio[RECORDS], crlfDelay: Infinity })
    records.on('line', (line) => this.#read(member, line.split(' ')))
    member.gone = Promise.all([once(child, 'exit'), once(records, 'close')]).then(([[status, signal]]) => {
      this.#members.delete(member)
      if (member.killed === undefined && (status !== 0 || member.sections.size > 0)) {
        this.#failures.push(`process ${number} ended with status ${status}, signal ${signal}, ${member.sections.size} holds`)
      }
      for (const id of member.sections) {
        this.#cut.add(id)
        this.#checker.killed(id, member.killed ?? member.seen)
      }
    })
  }

  /** Kills one, and starts another in its place. */
  async replace(member) {
    member.killed = now()
    member.child.kill('SIGKILL')
    await member.gone
    this.start(member.pooled)
  }

  async stop(limit) {
    for (const { child } of this.#members) child.stdin.end()
    await Promise.race([Promise.all(this.living.map(({ gone }) => gone)), sleep(limit, undefined, { ref: false })])
    for (const member of this.#members) {
      this.#failures.push(`process ${member.number} did not end by itself`)
      member.killed = now()
      member.child.kill('SIGKILL')
      await member.gone
    }
  }

  #read(member, [kind, ...words]) {
    const [id] = words
    const at = Number(words.at(-1))
    if (kind === 'b') {
      member.sections.add(id)
      this.#checker.begin(id, { name: words[1], owner: id, exclusive: true, process: member.number }, at)
    }
    if (kind === 'e') this.#checker.leave(id, at)
    if (kind === 'r' || kind === 'l') {
      member.sections.delete(id)
      if (kind === 'r') this.#checker.released(id, at)
      else {
        this.#cut.add(id)
        this.#checker.told(id, at)
      }
    }
    if (kind === '+') this.added++
    if (kind === 'x') this.#collisions.push({ id, name: words[1], others: words[2].split(','), at })
    if (kind === 'o') this.outcomes.set(id, (this.outcomes.get(id) ?? 0) + 1)
    else member.seen = at
  }

  /** Who has written between a reading and the writing of the same section had lost its lock before, or the section had. */
  judgeCollisions() {
    for (const { id, name, others, at } of this.#collisions) {
      const uncut = others.filter((other) => !this.#cut.has(other))
      if (uncut.length === 0 || this.#cut.has(id)) this.late++
      else this.#failures.push(`section ${id} of "${name}" was not alone at ${at.toFixed(1)}: beside ${uncut}`)
    }
  }
}

const list = (counts) => Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(', ')
