// Leaders that write in fenced transactions are replaced in the middle of it, in each way in which a leader can lose its lock. What
// a former leader writes is there before the next one is told that it leads, or never.

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { strToKey } from '../index.js'
import { openDatabase, until } from './support/database.mjs'
import { startProxy } from './support/proxy.mjs'
import { choices } from './support/random.mjs'

const TAKEOVERS = Number(process.env.TAKEOVERS ?? 300)
const SEED = Number(process.env.SEED ?? Date.now() % 1e9)
/** Several locks at a time: most of a take-over is waiting. */
const LOCKS = ['one', 'two', 'three']
const CANDIDATES = 2

const database = await openDatabase()
const script = fileURLToPath(new URL('children/fenced-writer.cjs', import.meta.url))
await database.sql.query(`
  CREATE TABLE writes (lock text, token int8, level text);
  CREATE TABLE grants (number serial, lock text, token int8, seen int8)`)

/** The candidates for one lock. */
class Contest {
  #candidates = new Set()
  #events = new EventEmitter()
  #sql
  #greatest = 0n
  /** Who leads, and by which token, as far as it is known. @type {{ candidate: object, token: bigint } | undefined} */
  leader
  refused = 0

  constructor(name) {
    this.name = name
  }

  async add() {
    const proxy = await startProxy(database.connectionString)
    const child = fork(script, [proxy.connectionString, database.connectionString, this.name])
    const candidate = { proxy, child }
    after(() => {
      child.kill('SIGKILL')
      proxy.close()
    })
    child.on('message', ({ elected, over, refused }) => {
      // Who has stood still tells late.
      if (BigInt(elected ?? 0) > this.#greatest) {
        this.#greatest = BigInt(elected)
        this.leader = { candidate, token: this.#greatest }
      }
      if (over && this.leader?.token === BigInt(over)) this.leader = undefined
      this.refused += refused ?? 0
      this.#events.emit('change')
    })
    this.#candidates.add(candidate)
  }

  /** Before the database goes. */
  async end() {
    for (const { child, proxy } of this.#candidates) {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      proxy.close()
    }
  }

  /** Until this is the case; whatever is told leads to another look. */
  async when(fact) {
    while (!fact()) await once(this.#events, 'change')
  }

  async terminateHolder() {
    this.#sql ??= await database.client()
    await this.#sql.query(
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted
       AND classid = $1::int8 & 4294967295 AND objid = $2::int8 & 4294967295 AND objsubid = 2`,
      strToKey(this.name),
    )
  }

  /** How a leader loses its lock. */
  faults = {
    terminate: () => this.terminateHolder(),
    kill: async ({ candidate }) => {
      this.#candidates.delete(candidate)
      candidate.child.kill('SIGKILL')
      await once(candidate.child, 'exit')
      candidate.proxy.close()
      await this.add()
    },
    cut: ({ candidate }) => candidate.proxy.cut(),
    /** The server hears of the end only after the leader has. */
    silence: async ({ candidate, token }) => {
      candidate.proxy.silence()
      await this.when(() => this.leader?.token !== token)
      candidate.proxy.cut()
      candidate.proxy.heal()
    },
    /** The leader stands still, perhaps with a transaction open, and goes on when another one leads or waits for that. */
    stop: async ({ candidate, token }) => {
      candidate.child.kill('SIGSTOP')
      await this.terminateHolder()
      await Promise.race([sleep(60), this.when(() => this.leader?.token > token)])
      candidate.child.kill('SIGCONT')
    },
  }

  async run(count, pick, between, counts) {
    let last = 0n
    for (let turn = 0; turn < count; turn++) {
      await this.when(() => this.leader?.token > last)
      const { leader } = this
      last = leader.token
      await sleep(between(0, 30))
      // It may have gone by itself meanwhile: after a fault that lasts.
      if (this.leader !== leader) continue
      const what = pick(['terminate', 'terminate', 'kill', 'cut', 'cut', 'silence', 'stop'])
      counts[what] = (counts[what] ?? 0) + 1
      await this.faults[what](leader)
    }
    await this.when(() => this.leader?.token > last)
  }
}

test(`${TAKEOVERS} take-overs, SEED=${SEED}`, { timeout: 60_000 + TAKEOVERS * 1000 }, async (t) => {
  const { between, pick } = choices(SEED)
  const contests = LOCKS.map((name) => new Contest(name))
  const counts = {}
  for (const contest of contests) for (let number = 0; number < CANDIDATES; number++) await contest.add()
  await Promise.all(contests.map((contest) => contest.run(Math.ceil(TAKEOVERS / LOCKS.length), pick, between, counts)))
  await until(() => contests.every(({ refused }) => refused > 0), 'former leaders were refused')
  await Promise.all(contests.map((contest) => contest.end()))

  const { rows: late } = await database.sql.query(`
    SELECT lock, token, seen, (SELECT count(*) FROM writes WHERE writes.lock = grants.lock AND writes.token < grants.token) AS found
    FROM grants WHERE seen <> (SELECT count(*) FROM writes WHERE writes.lock = grants.lock AND writes.token < grants.token)`)
  assert.deepEqual(late, [], 'nothing of a former leader comes after the next was granted')
  const { rows: disordered } = await database.sql.query(`
    SELECT lock, token FROM (SELECT *, lag(token) OVER (PARTITION BY lock ORDER BY number) AS before FROM grants) AS ordered
    WHERE before >= token`)
  assert.deepEqual(disordered, [], 'tokens grow')
  const { rows: written } = await database.sql.query('SELECT level, count(*)::int, count(DISTINCT token)::int AS terms FROM writes GROUP BY level')
  assert.equal(written.length, 3)
  assert.ok(written.every(({ terms }) => terms > TAKEOVERS / 4), JSON.stringify(written))
  const terms = await database.value('SELECT count(*)::int FROM grants')
  const refused = contests.reduce((sum, contest) => sum + contest.refused, 0)
  t.diagnostic(`${terms} terms; ${JSON.stringify(counts)}; ${refused} refused; ${JSON.stringify(written)}`)
  assert.ok(terms >= TAKEOVERS / 2)
})
