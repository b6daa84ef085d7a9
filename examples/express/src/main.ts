import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import advisoryLock from 'advisory-lock-native'
import express from 'express'
import { standForElection } from './election.js'
import { postStats } from './stats.js'

const { DATABASE_URL = '', WEBHOOK_URL, PORT = '3000', INTERVAL_MS = String(30 * 60_000) } = process.env
if (!WEBHOOK_URL) throw new Error('WEBHOOK_URL is not set')

const shutdown = new AbortController()
const createMutex = advisoryLock(DATABASE_URL, { applicationName: 'stats' })
const election = standForElection(
  createMutex('post stats'),
  (over) => postStats(WEBHOOK_URL, Number(INTERVAL_MS), over),
  shutdown.signal,
)

const app = express()
app.get('/', (_request, response) => {
  response.send('Hello\n')
})
app.get('/healthz', (_request, response) => {
  response.json({ pid: process.pid, leading: election.leading })
})
const server = app.listen(Number(PORT))
await once(server, 'listening')
console.log(`listening on ${(server.address() as AddressInfo).port}`)

process.once('SIGTERM', () => {
  // Steps down first, so that the next leader is there before this process is gone.
  shutdown.abort()
  server.close()
  server.closeIdleConnections()
  void election.over.then(() => createMutex.close())
})
