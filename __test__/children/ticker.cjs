'use strict'
// One process of several that run ticks of one schedule, with a clock that is wrong by so many milliseconds. Writes what happens to a
// file of its own, a line each, so that nothing of it is lost when the process is killed:
//
//   elected <time>                    by the database's clock: what is due later is to be run
//   over <time>                       lost or resigned
//   tick <time>                       it is run
//   held <asked> <answered> <time>    between two times of the machine's clock, by the database's clock
//
// By the machine's clock is by Unix time of the test, which the process learns as the offset of its own monotonic clock.

const { appendFileSync } = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')

const [connectionString, interval, skew, file, offset] = process.argv.slice(2)
const write = (...what) => appendFileSync(file, `${what.join(' ')}\n`)
const machineTime = () => Number(process.hrtime.bigint()) / 1e6 + Number(offset)

const RealDate = Date
const realNow = Date.now
globalThis.Date = class extends RealDate {
  constructor(...parameters) {
    super(...(parameters.length > 0 ? parameters : [realNow() + Number(skew)]))
  }
  static now() {
    return realNow() + Number(skew)
  }
}

const advisoryLock = require('../../index.js')

/** Asks as long as the lock is held, behind whatever the ticks have asked by then. */
async function ask(term) {
  while (!term.signal.aborted) {
    const asked = machineTime()
    const heldAt = await term.verify().catch(() => undefined)
    if (!heldAt) return
    write('held', asked, machineTime(), heldAt.getTime())
    await sleep(10)
  }
}

const election = advisoryLock(connectionString, { applicationName: 'ticker' })('ticks').elect(
  async (term) => {
    const ticking = term.every(Number(interval), (tick) => write('tick', tick.getTime()))
    // Not before that: what is due between the two would be missed.
    write('elected', (await term.verify()).getTime() + 1)
    void ask(term)
    await ticking
  },
  { backoff: { min: 20, max: 200 } },
)
for (const event of ['lost', 'resigned']) election.on(event, () => write('over', machineTime()))
election.on('error', (error) => write('error', error.stack))
process.on('disconnect', () => process.exit())
process.once('message', () => election.stop().then(() => process.exit()))
process.send('ready')
