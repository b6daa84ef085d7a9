'use strict'
// One process of several that run ticks of one schedule, with a clock that is wrong by so many milliseconds. Writes what happens to a
// file of its own, a line each, so that nothing of it is lost when the process is killed:
//
//   elected <time>     by the database's clock, a moment later
//   over               lost or resigned
//   tick <time>        it is run
//   busy <from> <to>   by the machine's clock, the process has done nothing
//
// By the machine's clock is by Unix time of the test, which the process learns as the offset of its own monotonic clock.

const { appendFileSync } = require('node:fs')

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

let last = machineTime()
setInterval(() => {
  const now = machineTime()
  if (now - last > 35) write('busy', last, now)
  last = now
}, 5)

const election = advisoryLock(connectionString, { applicationName: 'ticker' })('ticks').elect(
  async (term) => {
    write('elected', (await term.verify()).getTime() + 1)
    await term.every(Number(interval), (tick) => write('tick', tick.getTime()))
  },
  { backoff: { min: 20, max: 200 } },
)
for (const event of ['lost', 'resigned']) election.on(event, () => write('over', machineTime()))
election.on('error', (error) => write('error', error.stack))
process.on('disconnect', () => process.exit())
process.once('message', () => election.stop().then(() => process.exit()))
process.send('ready')
