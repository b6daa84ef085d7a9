'use strict'
// A fresh process: loads a peer, takes its first lock, and prints what loading cost, as JSON.

const [peer, connectionString, ours] = process.argv.slice(2)

const first = {
  ours: () => require(ours)(connectionString)('bench start').lock(),
  original: () => require('advisory-lock').default(connectionString)('bench start').lock(),
  async pg() {
    const { Client } = require('pg')
    const client = new Client(connectionString)
    await client.connect()
    await client.query('SELECT pg_advisory_lock(1, 1)')
  },
  async nothing() {},
}
const modules = { ours, original: 'advisory-lock', pg: 'pg' }

async function main() {
  const before = { time: performance.now(), rss: process.memoryUsage().rss }
  if (modules[peer]) require(modules[peer])
  const load = performance.now() - before.time
  const grown = (process.memoryUsage().rss - before.rss) / 2 ** 20
  await first[peer]()
  console.log(JSON.stringify({ load, grown }))
}
main()
