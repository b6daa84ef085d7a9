// Four processes, one leader. Kills the leader, watches the next take over, asks that one to step down, and ends.
//
// `npm run demo` needs nothing but this project; with PG_CONNECTION_STRING set it uses that server.

import { fork } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { startServer } from '../scripts/embedded-postgres.mjs'

const WORKERS = 4
/** How long anything that the demo waits for may take, in milliseconds. */
const PATIENCE = 10_000

const begin = performance.now()
const events = new EventEmitter()
const workers = []
let leader
let mostLeaders = 0

const bold = (text) => (process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text)

function say(who, what) {
  const time = ((performance.now() - begin) / 1000).toFixed(3).padStart(7)
  console.log(`${time} s  ${who.padEnd(22)} ${what}`)
}

function startWorker(number, connectionString) {
  const child = fork(new URL('worker.mjs', import.meta.url), {
    env: { ...process.env, DEMO_CONNECTION_STRING: connectionString },
  })
  const worker = { child, name: `worker ${number} (pid ${child.pid})`, exited: once(child, 'exit') }
  child.on('message', ({ event, text }) => {
    if (event === 'leads') {
      mostLeaders = Math.max(mostLeaders, leader ? 2 : 1)
      leader = worker
      say(worker.name, bold('LEADS'))
    } else {
      if (event === 'steps down') leader = undefined
      say(worker.name, text ? `posts: ${text}` : event)
    }
    events.emit(event, worker)
  })
  worker.exited.then(([status, signal]) => {
    if (leader === worker) leader = undefined
    if (status !== 0 && signal !== 'SIGKILL') events.emit('error', new Error(`${worker.name} failed (status ${status})`))
  })
  workers.push(worker)
}

/** The next event of a kind, or a failure that says what did not happen. */
async function next(event, what) {
  try {
    const [worker] = await once(events, event, { signal: AbortSignal.timeout(PATIENCE) })
    return worker
  } catch (error) {
    throw error.name === 'AbortError' ? new Error(`not within ${PATIENCE / 1000} s: ${what}`) : error
  }
}

async function posts(count) {
  for (let post = 0; post < count; post++) await next('posts', 'the leader posts')
}

async function demo() {
  const given = process.env.PG_CONNECTION_STRING
  say('demo', given ? 'uses the server of PG_CONNECTION_STRING' : 'starts an embedded PostgreSQL')
  const server = given ? undefined : await startServer()
  try {
    const connectionString = given ?? server.connectionString()
    say('demo', `starts ${WORKERS} worker processes, which compete for one lock`)
    const elected = next('leads', 'a worker leads')
    for (let number = 1; number <= WORKERS; number++) startWorker(number, connectionString)
    await elected
    await posts(3)

    await sleep(300)
    const killed = leader
    say('demo', `kills the leader, ${killed.name}, with SIGKILL`)
    const succeeded = next('leads', 'another worker takes over from the killed leader')
    const since = performance.now()
    killed.child.kill('SIGKILL')
    leader = undefined
    const successor = await succeeded
    say('demo', bold(`${successor.name} took over ${(performance.now() - since).toFixed(1)} ms after the kill`))
    await posts(4)

    await sleep(300)
    say('demo', `asks the leader, ${successor.name}, to step down (SIGTERM)`)
    const again = next('leads', 'another worker takes over from the leader that stepped down')
    successor.child.kill('SIGTERM')
    await again
    await posts(4)

    say('demo', 'stops the rest')
    for (const { child } of workers) child.kill('SIGTERM')
    await Promise.race([
      Promise.all(workers.map(({ exited }) => exited)),
      sleep(PATIENCE, undefined, { ref: false }).then(() => {
        throw new Error('the workers do not end')
      }),
    ])
    if (mostLeaders > 1) throw new Error('two workers led at the same time')
    say('demo', 'done: there was never more than one leader at a time')
  } finally {
    for (const { child } of workers) child.kill('SIGKILL')
    await server?.stop()
  }
}

const interrupted = new Promise((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reject(new Error(`ended by ${signal}`)))
})
// An error that no step waits for ends the demo as well.
const failed = new Promise((_, reject) => events.on('error', reject))

const run = demo()
try {
  await Promise.race([run, interrupted, failed])
} catch (error) {
  console.error(`demo: ${error.message}`)
  process.exitCode = 1
  for (const { child } of workers) child.kill('SIGKILL')
  // The embedded server ends with this process.
  process.exit()
}
