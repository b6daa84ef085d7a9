// A process that measures one peer, as its parent asks: `{ load, ...parameters }` → the load's result.

import { readFileSync } from 'node:fs'
import { peers } from './peers.mjs'
import * as loads from './loads.mjs'

const [peer, connectionString, applicationName] = process.argv.slice(2)
const opened = await peers[peer].open(connectionString, applicationName)

/** CPU time of the JavaScript thread so far, in microseconds; where only Linux knows it. */
function mainThreadTime() {
  if (process.threadCpuUsage) {
    const { user, system } = process.threadCpuUsage()
    return user + system
  }
  if (process.platform !== 'linux') return NaN
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1000
}

process.on('message', async ({ load, ...parameters }) => {
  try {
    const before = { process: process.cpuUsage(), thread: mainThreadTime() }
    const result = await loads[load](opened, parameters)
    const { user, system } = process.cpuUsage(before.process)
    const cpu = { process: user + system, mainThread: mainThreadTime() - before.thread }
    process.send({ ...result, cpu, rss: process.memoryUsage().rss })
  } catch (error) {
    process.send({ failure: error.stack })
  }
})
process.send('ready')
