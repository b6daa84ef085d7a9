import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import advisoryLock from 'advisory-lock-native'
import express from 'express'
import { postStats } from './stats.js'

const { DATABASE_URL = '', WEBHOOK_URL, PORT = '3000', INTERVAL_MS = String(30 * 60_000) } = process.env
if (!WEBHOOK_URL) throw new Error('WEBHOOK_URL is not set')

const createMutex = advisoryLock(DATABASE_URL, { applicationName: 'stats' })
const election = createMutex('post stats').elect((term) =>
  term.every(Number(INTERVAL_MS), (tick) => postStats(WEBHOOK_URL, tick)),
)
// The next tick comes, whatever happens to this one.
election.on('error', (error) => console.error('stats:', error))
election.on('standby', (error) => {
  if (error) console.error('standing by again:', error)
})

const app = express()
app.get('/', (_request, response) => {
  response.send('Hello\n')
})
// Who stands by is as ready as who leads: requests are no business of the election.
app.get('/healthz', (_request, response) => {
  response.json({ pid: process.pid, ready: true, leading: election.isLeader })
})
const server = app.listen(Number(PORT))
await once(server, 'listening')
console.log(`listening on ${(server.address() as AddressInfo).port}`)

process.once('SIGTERM', () => {
  server.close()
  server.closeIdleConnections()
  // Steps down first, so that the next leader is there before this process is gone.
  void election.stop().then(() => createMutex.close())
})
