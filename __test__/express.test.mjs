// The Express example with the packed package: three processes, one of them posts, whoever is killed.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDatabase, until } from './support/database.mjs'
import { emptyProject, npm, pack, root } from './support/package.mjs'

const INTERVAL = 1000
const database = await openDatabase()
const received = []
const receiver = createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  received.push({ ...JSON.parse(body), key: request.headers['idempotency-key'] })
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

/** The process that leads, once one of them does; never two. */
async function leaderOf(apps) {
  let leader
  await until(async () => {
    const healths = await Promise.all(apps.map((app) => app.health()))
    const leaders = apps.filter((_, index) => healths[index].leading)
    assert.ok(leaders.length <= 1, 'two lead at once')
    leader = leaders[0]
    return leader !== undefined
  }, 'somebody leads')
  return leader
}

/** Until so many more ticks have been posted by this process. */
async function ticksFrom(app, count) {
  const posted = () => received.filter(({ from }) => from === app.pid).length
  const enough = posted() + count
  await until(() => posted() >= enough, `${count} ticks of ${app.pid}`, 5000 + 2 * count * INTERVAL)
}

test('three processes, one leader, each tick once', { timeout: 120_000 }, async () => {
  const folder = await emptyProject()
  await cp(join(root, 'examples/express'), folder, {
    recursive: true,
    filter: (path) => !/node_modules|dist|package-lock/.test(path.slice(root.length)),
  })
  await npm(folder, 'install', '--ignore-scripts', '--prefer-offline', await pack(root, folder))
  await npm(folder, 'run', 'build')
  let apps = await Promise.all([startApp(folder), startApp(folder), startApp(folder)])

  const first = await leaderOf(apps)
  await ticksFrom(first, 4)
  const undisturbed = received.map(({ tick }) => tick)
  assert.deepEqual(undisturbed, undisturbed.map((_, index) => undisturbed[0] + index), 'one after the other, none twice')

  assert.deepEqual(await first.end('SIGKILL'), [null, 'SIGKILL'])
  apps = apps.filter((app) => app !== first)
  const second = await leaderOf(apps)
  await ticksFrom(second, 2)

  assert.deepEqual(await second.end('SIGTERM'), [0, null], 'it steps down and ends by itself')
  apps = apps.filter((app) => app !== second)
  const third = await leaderOf(apps)
  await ticksFrom(third, 2)
  assert.deepEqual(await third.end('SIGTERM'), [0, null])
  await until(async () => (await database.connectionCount()) === 0, 'nobody is left')

  const ticks = received.map(({ tick }) => tick)
  assert.equal(new Set(ticks).size, ticks.length, 'no tick came twice')
  assert.deepEqual(ticks, ticks.toSorted((a, b) => a - b))
  assert.deepEqual(received.map(({ key }) => key), ticks.map((tick) => `stats-${tick}`))
  const posters = received.map(({ from }) => from).filter((from, index, all) => from !== all[index - 1])
  assert.deepEqual(posters, [first.pid, second.pid, third.pid], 'each posted in its own time')
})
