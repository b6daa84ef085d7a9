// Many processes want one lock, again and again: whether each gets its turn, how long it waits at most, and how often it is
// overtaken. The queue of a key has fewer places than there are processes, so that most of them ask for one now and then.
//
//   node soak/turns.mjs [--seconds 600] [--processes 64] [--section 10] [--longest 60]
//
// `--section`: how long each holds the lock, in milliseconds; `--longest`: a wait of so many seconds is a failure.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'

const SELF = fileURLToPath(import.meta.url)
/** Milliseconds of the machine's monotonic clock, the same for all processes. */
const now = () => Number(process.hrtime.bigint()) / 1e6

/** What each process does: tells of each turn when it was asked for, begun and over. */
async function takeTurns(connectionString, section) {
  const mutex = advisoryLock(connectionString)('turns')
  process.send('ready')
  await once(process, 'message')
  for (;;) {
    const asked = now()
    const unlock = await mutex.lock()
    const begun = now()
    await sleep(section)
    const over = now()
    await unlock()
    process.send({ asked, begun, over })
  }
}

/** By how many others a turn was overtaken, who asked later and had theirs earlier; and how often by one of them at most. */
function overtaken(turns, index) {
  const byProcess = new Map()
  let all = 0
  for (let earlier = index - 1; earlier >= 0 && turns[earlier].begun > turns[index].asked; earlier--) {
    const { asked, number } = turns[earlier]
    if (asked < turns[index].asked) continue
    all++
    byProcess.set(number, (byProcess.get(number) ?? 0) + 1)
  }
  return { all, byOne: Math.max(0, ...byProcess.values()) }
}

const spread = (values) => {
  const sorted = values.toSorted((one, other) => one - other)
  return `${sorted[0]} at least, ${sorted[sorted.length >> 1]} at the median, ${sorted.at(-1)} at most`
}

/** Prints what there was; whether all was well. */
function report(turns, waiting, { seconds, longest }) {
  turns.sort((one, other) => one.begun - other.begun)
  const failures = []
  for (let index = 1; index < turns.length; index++) {
    if (turns[index].begun < turns[index - 1].over) failures.push(`turn ${index} began before the one before it was over`)
  }
  const counts = waiting.map((_, number) => turns.filter((turn) => turn.number === number).length)
  const end = now()
  const waits = turns.map(({ asked, begun }) => begun - asked)
  // Those who still wait as well.
  const longestWait = Math.max(...waits, ...waiting.map((since) => end - since)) / 1000
  const passed = turns.map((_, index) => overtaken(turns, index))
  console.log(`${turns.length} turns in ${seconds} s; of each process ${spread(counts)}`)
  console.log(`waits in ms: ${spread(waits.map(Math.round))}; the longest, that of those who still wait included: ${longestWait.toFixed(2)} s`)
  console.log(`overtaken by later calls: ${spread(passed.map(({ all }) => all))}; by those of one process ${spread(passed.map(({ byOne }) => byOne))}`)
  if (Math.min(...counts) === 0) failures.push('a process had no turn')
  if (longestWait > longest) failures.push(`a process waited for ${longestWait.toFixed(1)} s`)
  for (const failure of failures) console.error(`turns: ${failure}`)
  console.log(failures.length === 0 ? 'turns: each process got its turn, one at a time' : 'turns: FAILED')
  return failures.length === 0
}

async function main() {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '600' },
      processes: { type: 'string', default: '64' },
      section: { type: 'string', default: '10' },
      longest: { type: 'string', default: '60' },
    },
  })
  const [seconds, processes, section, longest] = ['seconds', 'processes', 'section', 'longest'].map((name) => Number(values[name]))
  const server = await startServer({ max_connections: 4 * processes + 20 })
  const turns = []
  /** Since when each process has waited for its next turn. */
  const waiting = []
  const children = []
  try {
    // One after the other: a start takes more of the machine than all that follows.
    for (let number = 0; number < processes; number++) {
      const child = fork(SELF, ['--turns', server.connectionString(), String(section)])
      children.push(child)
      await once(child, 'message')
      child.on('message', ({ asked, begun, over }) => {
        turns.push({ number, asked, begun, over })
        waiting[number] = over
      })
    }
    for (const [number, child] of children.entries()) {
      waiting[number] = now()
      child.send('begin')
    }
    await sleep(seconds * 1000)
    return report(turns, waiting, { seconds, longest })
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await server.stop()
  }
}

if (process.argv[2] === '--turns') {
  await takeTurns(process.argv[3], Number(process.argv[4]))
} else {
  process.exitCode = (await main()) ? 0 : 1
}
