// `npm run soak`: processes of mixed callers on a real server, while sessions, links, processes, threads, backends and the server
// are broken at random. Proves from the records of all critical sections that nobody was let in twice, and that nothing hung or was left.
//
//   npm run soak -- [--pooled] [--seconds 60] [--processes 4] [--callers 16] [--standbys 20] [--seed <number>]
//
// `--pooled` has another team count through transaction poolers (pooled.mjs).

import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { choices } from '../__test__/support/random.mjs'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { ExclusionChecker } from './checker.mjs'
import { Faults } from './faults.mjs'
import { soakPooled } from './pooled.mjs'
import { Team } from './team.mjs'

/** Milliseconds between the end of a session on the server and the news of it at its holder, on a loaded machine. */
const NOTICE = 1000
const NAMES = [...'abcdefghijkl']
/** How the calls may end while everything around them is broken. */
const EXPECTED = new Set(
  `done ERR_LOCK_LOST ERR_LOCK_TIMEOUT TimeoutError AbortError ECONNRESET ECONNREFUSED EPIPE ETIMEDOUT
   40P01 57014 57P01 57P02 57P03`.split(/\s+/),
)

/** What a plain client says of a connection that is gone. */
const EXPECTED_OF_PG = new Set([...EXPECTED, 'Error'])

async function main() {
  const { values } = parseArgs({
    options: {
      pooled: { type: 'boolean', default: false },
      seconds: { type: 'string', default: '60' },
      processes: { type: 'string', default: '4' },
      callers: { type: 'string', default: '16' },
      // Candidates of one election, in all processes together, each with connections of its own.
      standbys: { type: 'string', default: '20' },
      seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    },
  })
  const numbers = ['seconds', 'processes', 'callers', 'standbys', 'seed'].map((name) => Number(values[name]))
  const [seconds, processes, callers, standbys, seed] = numbers
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0)) {
    throw new TypeError('the options take whole numbers')
  }
  if (values.pooled) console.log(`soak: ${seconds} s, ${processes} processes of ${callers} callers through PgBouncer, seed ${seed}`)
  else console.log(`soak: ${seconds} s, ${processes} processes of ${callers + 2} callers, ${standbys} standbys, seed ${seed}`)
  const server = await startServer({ max_connections: 500, superuser_reserved_connections: 10 })
  try {
    if (values.pooled) return await soakPooled(server, { seconds, processes, callers }, choices(seed))
    return await soak(server, { seconds, processes, callers, standbys: Math.ceil(standbys / processes), seed })
  } finally {
    await server.stop()
  }
}

async function soak(server, { seconds, processes, callers, standbys, seed }) {
  const random = choices(seed)
  const checker = new ExclusionChecker(NOTICE)
  const team = new Team({ connectionString: server.connectionString(), callers, standbys, names: NAMES }, random, checker)
  const faults = new Faults(server, team, checker, random)
  for (let number = 0; number < processes; number++) await team.start()
  const judging = setInterval(() => checker.judge(Math.min(team.horizon, faults.horizon)), 500)
  await faults.run(seconds * 1000)
  // Without faults everybody comes to an end.
  await team.stop(130_000)
  clearInterval(judging)
  checker.judge()
  await checkLeftovers(server, team)
  return report(team, faults, checker, seconds)
}

async function checkLeftovers(server, team) {
  const client = new pg.Client(server.connectionString())
  await client.connect()
  const count = async (table, condition) =>
    Number((await client.query(`SELECT count(*) FROM ${table} WHERE ${condition}`)).rows[0].count)
  let left
  for (let second = 0; second < 5; second += 0.1) {
    left = [
      await count('pg_locks', "locktype = 'advisory'"),
      await count('pg_stat_activity', "application_name LIKE 'soak%'"),
    ]
    if (left.every((number) => number === 0)) break
    await sleep(100)
  }
  await client.end()
  if (left[0] > 0) team.failures.push(`${left[0]} locks are left on the server`)
  if (left[1] > 0) team.failures.push(`${left[1]} connections are left on the server`)
}

/** Prints what there was; whether all was well. */
function report(team, faults, checker, seconds) {
  const { outcomes, failures } = team
  const ways = new Map()
  for (const [outcome, count] of outcomes) {
    const [way, code] = outcome.split(' ')
    ways.set(way, { ...ways.get(way), [code]: count })
    if (!(way === 'plain' ? EXPECTED_OF_PG : EXPECTED).has(code)) failures.push(`${way} ended with ${code} ${count} times`)
  }
  console.log(`faults: ${list(faults.counts)}`)
  for (const way of [...ways.keys()].sort()) console.log(`${way}: ${list(ways.get(way))}`)
  console.log(
    `${checker.count} critical sections, ${checker.overlaps} begun before the news of a loss had reached the holder ` +
      `(by ${checker.longestOverlap.toFixed(1)} ms at most), ${checker.unheard} beside one that was behind a silent network until its end`,
  )
  if (checker.count < seconds * 10) failures.push('too little happened to prove anything')
  for (const id of checker.open()) failures.push(`section ${id} never ended`)
  for (const { message, earlier, later, nearby } of checker.violations) {
    const history = [...faults.history, ...team.history].sort((one, other) => one.at - other.at)
    const meanwhile = history.filter(({ at }) => at > earlier.from - 1000 && at < earlier.endKnown + 1000)
    const lines = [earlier, later, ...nearby].map((section) => JSON.stringify(section)).concat(meanwhile.map(({ at, text }) => `${at.toFixed(1)} ${text}`))
    failures.push([message, ...lines].join('\n  '))
  }
  for (const failure of failures) console.error(`soak: ${failure}`)
  console.log(failures.length === 0 ? 'soak: no exclusive hold overlapped another, nothing hung, nothing was left' : 'soak: FAILED')
  return failures.length === 0
}

const list = (counts) => Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(', ')

main().then(
  (good) => process.exit(good ? 0 : 1),
  (error) => {
    console.error(error)
    process.exit(1)
  },
)
