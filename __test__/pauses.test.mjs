// A thread that is blocked and a process that stands still, each with a network that is well and with one that is cut meanwhile.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import advisoryLock from '../index.js'
import { createCertificate, keyPem } from './support/certificates.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { createNamespace } from './support/namespace.mjs'
import { startOpenServer } from './support/open-server.mjs'
import { startTlsServer } from './support/tls-server.mjs'

const onLinux = process.platform === 'linux'
const inNamespace = { skip: !onLinux && 'only Linux has network namespaces' }
const withSignals = { skip: process.platform === 'win32' && 'Windows does not stop processes' }
const now = () => Number(process.hrtime.bigint()) / 1e6

/** The events that a child prints. */
function listen(child, t) {
  const events = []
  createInterface({ input: child.stdout }).on('line', (line) => events.push(JSON.parse(line)))
  t.after(async () => {
    child.stdin.end()
    child.kill('SIGCONT')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const find = (name) => events.find(({ event }) => event === name)
  return {
    events,
    async event(name, limit) {
      await until(() => find(name), name, limit)
      return find(name)
    },
  }
}

const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n']
/** Who runs in a network namespace is root's. */
const signal = (name, pid) => {
  const [file, ...parameters] = [...asRoot, 'kill', `-${name}`, String(pid)]
  execFileSync(file, parameters)
}

test('pauses while the network is cut: nobody goes on with a lock that is another’s', inNamespace, async (t) => {
  const server = await startOpenServer()
  const database = await openDatabase(server)
  const cut = (title, thread, pause) =>
    t.test(title, async (part) => {
      const network = createNamespace()
      part.after(network.close)
      const url = new URL(database.connectionString)
      url.hostname = network.address
      const child = network.start('paused', url.href, title, thread, JSON.stringify({ heartbeat: 500 }))
      const { events, event } = listen(child, part)
      const { pid } = await event('held')
      const createMutex = advisoryLock(database.connectionString)
      const next = createMutex(title).lock()
      await database.waiter(title)
      const resume = await pause(child, pid, event)
      network.cut()
      const begin = now()
      const unlock = await next
      part.diagnostic(`the next has the lock ${((now() - begin) / 1000).toFixed(1)} s after the cut`)
      resume?.()
      const goesOn = await event('goes on', 60_000)
      const unlocked = await event('unlocked', 60_000)
      const lost = await event('lost')
      part.diagnostic(`told ${(lost.at - goesOn.at).toFixed(1)} ms after it goes on`)
      assert.equal(goesOn.aborted, true, 'it sees the loss before it does anything else')
      assert.ok(events.indexOf(lost) < events.indexOf(unlocked), 'and is told first')
      assert.deepEqual([lost.code, lost.cause], ['ERR_LOCK_LOST', 'ETIMEDOUT'])
      assert.equal(unlocked.code, 'ERR_LOCK_LOST')
      assert.ok(lost.at - goesOn.at < 400, 'at once')
      assert.ok(!events.some((each) => each.event === 'next' && each.value), 'nobody else there is let in')
      await unlock()
      await createMutex.close()
    })

  const block = async (child, _, event) => {
    child.stdin.write('20000\n')
    await event('blocks')
  }
  const stop = async (_, pid) => {
    signal('STOP', pid)
    return () => signal('CONT', pid)
  }
  await cut('the main thread is blocked', 'main', block)
  await cut('a worker is blocked', 'worker', block)
  await cut('the process is stopped', 'main', stop)
  await cut('the process of a worker is stopped', 'worker', stop)
})

test('the server ends the session of a process that stands still: that is heard before anything else goes on', withSignals, async (t) => {
  const database = await openDatabase()
  const script = fileURLToPath(new URL('children/goes-on.cjs', import.meta.url))
  for (let run = 0; run < 20; run++) {
    const [held, handed] = [`held ${run}`, `handed ${run}`]
    const child = spawn(process.execPath, [script, database.connectionString, held, handed], { stdio: ['pipe', 'pipe', 'inherit'] })
    const { event } = listen(child, t)
    await event('held')
    await until(async () => (await database.locks(handed)).length > 0, 'both are held')
    child.kill('SIGSTOP')
    await database.terminate(held)
    const next = advisoryLock(database.connectionString)
    const holds = [await next(held).lock(), await next(handed).lock()]
    const at = now()
    child.kill('SIGCONT')
    child.stdin.write(`${at}\n`)
    const { aborted, throwIfAborted, handedOn } = await event('over')
    assert.deepEqual({ aborted, throwIfAborted, handedOn }, { aborted: 0, throwIfAborted: 0, handedOn: 0 })
    for (const unlock of holds) await unlock()
    await next.close()
  }
})

/** Stops a process that holds and waits; nobody is told anything, and the waits go on. */
async function staysWhole(t, database, connectionString, options, seconds) {
  const awaited = ['awaited 1', 'awaited 2', 'awaited 3', 'awaited 4'].map((name) => `${name} ${t.name}`)
  const held = [`held 1 ${t.name}`, `held 2 ${t.name}`]
  const others = await database.client()
  for (const name of awaited) await sqlLock(others, name)
  const script = fileURLToPath(new URL('children/standing.cjs', import.meta.url))
  const parameters = [script, connectionString, held.join(), awaited.join(), JSON.stringify(options)]
  const child = spawn(process.execPath, parameters, { stdio: ['pipe', 'pipe', 'inherit'] })
  const { events, event } = listen(child, t)
  await event('held')
  for (const name of awaited) await database.waiter(name)
  child.kill('SIGSTOP')
  await sleep(seconds * 1000)
  child.kill('SIGCONT')
  // A heartbeat later they are there, and queue again.
  for (const name of awaited) await database.waiter(name)
  await sleep(1000)
  assert.deepEqual(events.slice(1), [], 'nobody has lost anything')
  for (const name of held) assert.equal((await database.locks(name)).length, 1)
  for (const name of awaited) await sqlUnlock(others, name)
  await until(() => events.length === 1 + awaited.length, 'all waits are granted')
  assert.ok(events.slice(1).every((each) => each.event === 'granted'))
}

test('pauses while the network is well: nothing is lost', withSignals, async (t) => {
  const tls = await startTlsServer()
  const certificate = createCertificate('server')
  await tls.show(certificate, keyPem(certificate))
  const database = await openDatabase(tls.server)
  const encrypted = `${database.connectionString}?sslmode=no-verify`
  const cases = [
    ['8 s', database.connectionString, {}, 8],
    ['8 s with TLS', encrypted, {}, 8],
    ['longer than the server is patient', database.connectionString, { heartbeat: 100 }, 15],
    ['longer than the server is patient and with TLS', encrypted, { heartbeat: 100 }, 15],
  ]
  await Promise.all(
    cases.map(([title, connectionString, options, seconds]) =>
      t.test(title, (part) => staysWhole(part, database, connectionString, options, seconds)),
    ),
  )
})

test('a slow link is no dead one', inNamespace, async (t) => {
  const server = await startOpenServer()
  const database = await openDatabase(server)
  const network = createNamespace()
  t.after(network.close)
  network.limit('1mbit', 16_384)
  const url = new URL(database.connectionString)
  url.hostname = network.address
  const child = network.start('many', url.href, '2400')
  const { event } = listen(child, t)
  const { granted, failed, isHeld, holders, took } = await event('done', 60_000)
  t.diagnostic(`2,400 locks by 1 Mbit/s in ${(took / 1000).toFixed(1)} s`)
  assert.deepEqual(failed, [])
  assert.equal(granted, 2400)
  assert.equal(isHeld, true, 'an older hold is kept')
  assert.equal(holders, 1)
})
