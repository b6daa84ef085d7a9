'use strict'
// A primary process that uses the package, and workers that elect one of them; whoever leads is killed by the primary
// until each worker but one has led. Prints the leaders, as their numbers.

const cluster = require('node:cluster')
const { on, once } = require('node:events')
const advisoryLock = require('../../index.js')

const [connectionString, count] = process.argv.slice(2)
const createMutex = advisoryLock(connectionString)

async function lead() {
  await createMutex('leader').lock()
  process.send('leads')
  // A leader goes on leading.
  setInterval(() => {}, 1000)
}

async function oversee() {
  // The package is at work in this process before it forks.
  const unlock = await createMutex('leader').lock()
  const workers = Array.from({ length: Number(count) }, () => cluster.fork())
  await Promise.all(workers.map((worker) => once(worker, 'online')))
  const elected = on(cluster, 'message')
  await unlock()
  const leaders = []
  for await (const [leader] of elected) {
    leaders.push(leader.id)
    if (await createMutex('leader').tryLock()) throw new Error('the leader is not alone')
    leader.process.kill('SIGKILL')
    await once(leader, 'exit')
    if (leaders.length === workers.length) break
  }
  console.log(JSON.stringify(leaders.sort()))
}

if (cluster.isPrimary) oversee()
else lead()
