// The Express example with the packed package: four processes, one of them posts, whatever happens to it, and each tick once.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { strToKey } from '../index.js'
import { openDatabase, until } from './support/database.mjs'
import { emptyProject, npm, pack, root } from './support/package.mjs'

const INTERVAL = 1000
const database = await openDatabase()
const received = []
/** How the webhook fares: it answers, answers with an error, or hangs up. */
let mood = 'well'
const receiver = createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const { tick, from } = JSON.parse(body)
  received.push({ tick: Date.parse(tick) / INTERVAL, from, mood, key: request.headers['idempotency-key'] })
  if (mood === 'hangs up') return request.socket.destroy()
  response.statusCode = mood === 'well' ? 200 : 503
  response.end()
})
receiver.listen(0, '127.0.0.1')
await once(receiver, 'listening')
after(() => {
  receiver.closeAllConnections()
  receiver.close()
})

async function startApp(folder) {
  const env = {
    ...process.env,
    DATABASE_URL: database.connectionString,
    WEBHOOK_URL: `http://127.0.0.1:${receiver.address().port}`,
    INTERVAL_MS: String(INTERVAL),
    PORT: '0',
  }
  const app = spawn(process.execPath, ['dist/main.js'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'] })
  after(() => app.kill('SIGKILL'))
  const [line] = await once(app.stdout.setEncoding('utf8'), 'data')
  const port = /listening on (\d+)/.exec(line)[1]
  const health = async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).json()
  const end = async (signal) => {
    app.kill(signal)
    return once(app, 'exit')
  }
  return { pid: app.pid, health, end }
}

/** The process that leads, once one of them does; never two. Whoever stands by is ready as well. */
async function leaderOf(apps) {
  let leader
  await until(async () => {
    const healths = await Promise.all(apps.map((app) => app.health()))
    assert.ok(healths.every(({ ready }) => ready === true), 'ready while standing by')
    const leaders = apps.filter((_, index) => healths[index].leading)
    assert.ok(leaders.length <= 1, 'two lead at once')
    leader = leaders[0]
    return leader !== undefined
  }, 'somebody leads')
  return leader
}

/** Until so many more ticks have been posted by this process, and how the webhook fared with each of them. */
async function ticksFrom(app, count) {
  const posted = () => received.filter(({ from }) => from === app.pid)
  const before = posted().length
  await until(() => posted().length >= before + count, `${count} ticks of ${app.pid}`, 5000 + 2 * count * INTERVAL)
  return posted().slice(before, before + count)
}

/** Ticks that follow each other, none twice and none left out. */
function assertUnbroken(ticks) {
  assert.deepEqual(ticks, ticks.map((_, index) => ticks[0] + index))
}

test('four processes, one leader, each tick once, over three take-overs and a failing webhook', { timeout: 120_000 }, async () => {
  const folder = await emptyProject()
  await cp(join(root, 'examples/express'), folder, {
    recursive: true,
    filter: (path) => !/node_modules|dist|package-lock/.test(path.slice(root.length)),
  })
  await npm(folder, 'install', '--ignore-scripts', '--prefer-offline', await pack(root, folder))
  await npm(folder, 'run', 'build')
  let apps = await Promise.all([startApp(folder), startApp(folder), startApp(folder), startApp(folder)])
  const leave = (gone) => (apps = apps.filter((app) => app !== gone))

  const first = await leaderOf(apps)
  await ticksFrom(first, 3)
  for (const trouble of ['is out of service', 'hangs up']) {
    mood = trouble
    await until(() => received.at(-1).mood === trouble, 'a post that fails')
    mood = 'well'
    await ticksFrom(first, 2)
    assert.equal(await leaderOf(apps), first, 'a webhook that fails costs no term')
  }
  // The first post has what it needs loaded, for which a busy machine may need longer than until the next tick.
  assertUnbroken(received.slice(1).map(({ tick }) => tick))
  assert.deepEqual([...new Set(received.map((post) => post.mood))], ['well', 'is out of service', 'hangs up'])

  assert.deepEqual(await first.end('SIGKILL'), [null, 'SIGKILL'])
  leave(first)
  const second = await leaderOf(apps)
  await ticksFrom(second, 2)

  // Its session is gone, but not the process, which stands by from then on.
  assert.equal(await terminateHolder(), 1)
  await until(async () => !(await second.health()).leading, 'the second one knows')
  let third
  await until(async () => (third = await leaderOf(apps)) !== second, 'another one leads')
  await ticksFrom(third, 2)

  assert.deepEqual(await third.end('SIGTERM'), [0, null], 'it steps down and ends by itself')
  leave(third)
  // It may be the second one again, which has stood by since.
  const fourth = await leaderOf(apps)
  await ticksFrom(fourth, 2)
  for (const app of apps) assert.deepEqual(await app.end('SIGTERM'), [0, null])
  await until(async () => (await database.connectionCount()) === 0, 'nobody is left')

  const ticks = received.map(({ tick }) => tick)
  assert.equal(new Set(ticks).size, ticks.length, 'no tick came twice')
  assert.deepEqual(ticks, ticks.toSorted((a, b) => a - b))
  assert.deepEqual(received.map(({ key }) => key), ticks.map((tick) => `stats ${new Date(tick * INTERVAL).toISOString()}`))
  const posters = received.map(({ from }) => from).filter((from, index, all) => from !== all[index - 1])
  assert.deepEqual(posters, [first, second, third, fourth].map(({ pid }) => pid), 'each posted in its own time')
})

/** Ends the session that holds the lock; how many there were. */
async function terminateHolder() {
  const { rows } = await database.sql.query(
    `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
     AND classid = $1::int8 & 4294967295 AND objid = $2::int8 & 4294967295`,
    strToKey('post stats'),
  )
  return rows.length
}
