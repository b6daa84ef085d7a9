// Five processes with five clocks, of which the one that leads runs the ticks; it is killed, stopped and cut off meanwhile. No tick
// comes twice, and each that had a leader is run.

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openDatabase, until } from './support/database.mjs'
import { fakeTimeLibrary } from './support/program.mjs'
import { choices } from './support/random.mjs'

const INTERVAL = 100
const TICKS = Number(process.env.TICKS ?? 500)
const SEED = Number(process.env.SEED ?? Date.now() % 1e9)

const database = await openDatabase()
const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-ticks-'))
after(() => rm(folder, { recursive: true }))
const script = fileURLToPath(new URL('children/ticker.cjs', import.meta.url))
/** Unix time when this machine's monotonic clock stood at 0. The database is on this machine, so its clock is the same. */
const OFFSET = Date.now() - Number(process.hrtime.bigint()) / 1e6

/** By `Date.now`, or for the whole process by libfaketime, in minutes. */
const clocks = [{ skew: 0 }, { skew: 3 }, { skew: -3 }, { fake: 2.5 }, { fake: -3 }]

/** Starts a process with one of the clocks. */
async function startTicker(clock, number) {
  const file = join(folder, `${number}`)
  const faked = clock.fake !== undefined && process.platform === 'linux'
  const env = { ...process.env }
  if (faked) Object.assign(env, { LD_PRELOAD: fakeTimeLibrary(), FAKETIME: `${clock.fake < 0 ? '' : '+'}${clock.fake * 60}`, FAKETIME_DONT_FAKE_MONOTONIC: '1' })
  const skew = faked ? 0 : (clock.skew ?? clock.fake) * 60_000
  const child = fork(script, [database.connectionString, INTERVAL, skew, file, OFFSET].map(String), { env })
  after(() => child.kill('SIGKILL'))
  const [what] = await Promise.race([once(child, 'message'), once(child, 'exit')])
  assert.equal(what, 'ready')
  return { child, file, clock, stops: [] }
}

/** What the file of a process says: terms `{ from, to, held }` and ticks. */
async function read({ file }) {
  const told = { terms: [], ticks: [] }
  const text = await readFile(file, 'utf8').catch(() => '')
  for (const line of text.split('\n').slice(0, -1)) {
    const [what, ...values] = line.split(' ')
    assert.notEqual(what, 'error', line)
    const [first, second, third] = values.map(Number)
    const term = told.terms.at(-1)
    if (what === 'elected') told.terms.push({ from: first, to: Infinity, held: [] })
    if (what === 'over' && term) term.to = Math.min(term.to, first)
    if (what === 'tick') told.ticks.push(first)
    if (what === 'held') term.held.push({ asked: first, answered: second, time: third })
  }
  return told
}

/** How much later than the tick its timer may come: the clock is known to a round trip, and timers to a millisecond. */
const LATENESS = 10

/**
 * Whether a term must have run a tick: it has asked something after it, and once more after the answer, and was answered before
 * the next tick. What is asked later is answered later, so that what the tick has asked was answered as well, and answered
 * anew where its timer came too early. Nothing is owed by who was killed, stopped or cut off meanwhile, or who had no answer; nor
 * by who was stopped a moment before: the tick may come while a late one runs, or its timer was being set.
 */
function owes({ held }, stops, tick) {
  if (stops.some(({ from, to }) => from < tick + INTERVAL && to > tick - INTERVAL)) return false
  return held.some(
    (one) =>
      one.asked >= tick + LATENESS &&
      held.some((other) => other.asked >= one.answered + LATENESS && other.time < tick + INTERVAL),
  )
}

/** Has the process stand still, until it is told to go on. */
function stop(ticker) {
  const stopped = { from: Date.now(), to: Infinity }
  ticker.stops.push(stopped)
  ticker.child.kill('SIGSTOP')
  return () => {
    ticker.child.kill('SIGCONT')
    stopped.to = Date.now()
  }
}

/** The process that holds the lock, if there is one that may be touched. */
async function leaderOf(tickers) {
  const { rows } = await database.sql.query(
    `SELECT a.pid, a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted
     AND a.application_name = 'ticker'`,
  )
  for (const ticker of tickers) {
    const { terms } = await read(ticker)
    if (terms.at(-1)?.to === Infinity && !ticker.stopped) return { ticker, backend: rows[0]?.pid }
  }
}

test(`${TICKS} ticks, SEED=${SEED}`, { timeout: 60_000 + 4 * TICKS * INTERVAL }, async (t) => {
  const { between, pick } = choices(SEED)
  const all = await Promise.all(clocks.map(startTicker))
  let alive = [...all]
  const counts = { kill: 0, stop: 0, 'stop and terminate': 0, terminate: 0 }
  const begin = Date.now()
  const end = begin + TICKS * INTERVAL
  const nextTick = (after_) => sleep(INTERVAL - (Date.now() % INTERVAL) + after_)

  const faults = {
    /** 50 ms after a tick. */
    async kill({ ticker }) {
      await nextTick(50)
      ticker.child.kill('SIGKILL')
      await once(ticker.child, 'exit')
      alive = alive.filter((each) => each !== ticker)
      const successor = await startTicker(ticker.clock, all.length)
      all.push(successor)
      alive.push(successor)
    },
    /** Across ticks, for a shorter time than the server takes to notice. */
    async stop({ ticker }) {
      const goOn = stop(ticker)
      await sleep(between(120, 900))
      goOn()
    },
    /** And another one leads meanwhile. */
    async 'stop and terminate'({ ticker, backend }) {
      await nextTick(between(-20, 20))
      const goOn = stop(ticker)
      ticker.stopped = true
      await database.sql.query('SELECT pg_terminate_backend($1, 5000)', [backend])
      await sleep(between(150, 600))
      goOn()
      ticker.stopped = false
    },
    /** Around the verification. */
    async terminate({ backend }) {
      await nextTick(between(-3, 4))
      await database.sql.query('SELECT pg_terminate_backend($1, 5000)', [backend])
    },
  }
  while (Date.now() < end) {
    await sleep(between(200, 700))
    const leader = await leaderOf(alive)
    if (!leader?.backend) continue
    const what = pick(Object.keys(faults))
    counts[what]++
    await faults[what](leader)
  }
  for (const { child } of alive) child.send('stop')
  await Promise.all(alive.map(({ child }) => child.exitCode ?? once(child, 'exit')))

  const told = await Promise.all(all.map(async (ticker) => ({ ticker, ...(await read(ticker)) })))
  const runs = new Map()
  for (const { ticks } of told) for (const tick of ticks) runs.set(tick, (runs.get(tick) ?? 0) + 1)
  assert.deepEqual([...runs].filter(([, count]) => count > 1), [], 'no tick comes twice')

  const owed = []
  for (const { ticker, terms } of told) {
    for (const term of terms) {
      const last = term.held.at(-1)?.time ?? 0
      const first = Math.ceil(term.from / INTERVAL) * INTERVAL
      for (let tick = first; tick < last; tick += INTERVAL) if (owes(term, ticker.stops, tick)) owed.push(tick)
    }
  }
  t.diagnostic(`${runs.size} ticks run, ${owed.length} owed; ${JSON.stringify(counts)}; ${told.flatMap(({ terms }) => terms).length} terms`)
  assert.deepEqual(owed.filter((tick) => !runs.has(tick)), [], 'every tick with a leader is run')
  assert.ok(owed.length > TICKS / 4, 'and many had one')
  assert.ok(runs.size > TICKS / 2)
  assert.ok(Object.values(counts).every((count) => count > 0), JSON.stringify(counts))
  await until(async () => (await database.lockCount()) === 0, 'nobody is left')
})
