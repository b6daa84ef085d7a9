// Locks through a transaction pooler while something goes wrong: the pooler, the server, the client, the network, or the room.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import advisoryLock from '../index.js'
import { openDatabase, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startPooler } from './support/pooler.mjs'
import { startChild } from './support/process.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
const pooler = async (settings) => {
  const started = await startPgBouncer(database.connectionString, 'transaction', settings)
  after(started.stop)
  return started
}
const owner = (string, options) => advisoryLock(string, { transactionPooling: true, ...options })
const nothingIsLeft = (limit = 5000) => until(async () => (await database.lockCount()) === 0, 'nothing is locked', limit)
/** The reason of a signal, once it is aborted. */
const lossOf = (signal) => new Promise((resolve) => {
  if (signal.aborted) resolve(signal.reason)
  else signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
})
const lost = (code) => (error) => {
  assert.equal(error.code, 'ERR_LOCK_LOST')
  if (code) assert.equal(error.cause.code, code)
  return true
}

test('a client that is killed gives its lock up at once, whatever the pooler does with the session', async () => {
  const bouncer = await pooler({ default_pool_size: 2 })
  const ways = [bouncer.connectionString]
  for (const how of [{}, { rollsBack: true }, { rotates: true, rollsBack: true }]) {
    ways.push((await startPooler(database.connectionString, { mode: 'transaction', size: 3, ...how })).connectionString)
  }
  for (const way of ways) {
    const child = startChild('remote', `${way}?pgbouncer=true`)
    after(() => child.kill())
    assert.equal(await child.next(), 'ready')
    assert.deepEqual(await child.ask({ name: 'killed', method: 'tryLock' }), { value: true })
    const createMutex = owner(way)
    assert.equal(await createMutex('killed').tryLock(), false)
    const waiting = createMutex('killed').lock({ timeout: 10_000 })
    child.kill('SIGKILL')
    await child.exited
    assert.equal(await (await waiting)(), true)
    await createMutex.close()
    await nothingIsLeft()
  }
})

test('a connection that has died while it was idle: the next call connects anew, unless the pooler may be without a session', async (t) => {
  const { connectionString } = await pooler({ default_pool_size: 2 })
  const links = []
  const proxy = await startProxy(connectionString, (near) => links.push(near))
  t.after(() => proxy.close())
  const createMutex = owner(proxy.connectionString, { idleTimeout: 600_000, answerTimeout: 500 })
  const rest = async () => {
    assert.equal(await createMutex('idle').withLock(() => 1), 1)
    await sleep(1100)
    return links.at(-1)
  }
  // A router that has forgotten the connection says so to whoever sends.
  const forget = (link) => link.removeAllListeners('data').once('data', () => link.resetAndDestroy())
  forget(await rest())
  assert.equal(await createMutex('idle').tryLock(), true)
  assert.equal(await sqlTry(database.sql, 'idle'), false)
  await createMutex('idle').unlock()
  assert.equal(links.length, 2)
  forget(await rest())
  assert.deepEqual(await createMutex('idle').holders(), [])
  assert.equal(links.length, 3)
  const silent = await rest()
  silent.pause()
  await assert.rejects(createMutex('idle').tryLock(), (error) => error.code === '53300' && error.cause.code === 'ETIMEDOUT')
  await createMutex.close()
  await nothingIsLeft()
})

test('a transaction that is ended behind the back of its client is told to whoever gives its lock up, though another waits for it', async (t) => {
  const { hostname, port } = new URL(database.connectionString)
  const links = new Set()
  const meddler = createServer((near) => {
    const far = connect(Number(port), hostname)
    const link = { near, far, swallow: undefined }
    links.add(link)
    near.on('data', (data) => far.write(data)).on('error', () => {}).on('close', () => links.delete(link) && far.destroy())
    far.on('error', () => {}).on('close', () => near.destroy())
    far.on('data', (data) => (link.swallow ? link.swallow() : near.write(data)))
  })
  await once(meddler.listen(0, '127.0.0.1'), 'listening')
  t.after(() => meddler.close())
  const url = new URL(database.connectionString)
  url.host = `127.0.0.1:${meddler.address().port}`
  /** Ends each transaction, as poolers do that keep their clients; what the server says to that is for nobody. */
  const endTransactions = () => Promise.all([...links].map(async (link) => {
    await new Promise((resolve) => {
      link.swallow = resolve
      link.far.write(Buffer.from('Q\0\0\0\x0dROLLBACK\0'))
    })
    link.swallow = undefined
  }))
  for (const how of ['unlock', 'withLock']) {
    const [a, b] = [owner(url.href), owner(url.href)]
    let end
    const ending = new Promise((resolve) => (end = resolve))
    const begun = how === 'unlock' ? await a('ended').lock() : await new Promise((resolve) => {
      const done = a('ended').withLock(() => (resolve(() => (end(), done)), ending))
    })
    const waiting = b('ended').lock()
    // Longer than a lock is handed on without a word of the server.
    await sleep(100)
    await endTransactions()
    assert.equal(await sqlTry(database.sql, 'ended'), true, 'somebody else has it')
    await sqlUnlock(database.sql, 'ended')
    await assert.rejects(begun(), { code: 'ERR_LOCK_LOST' })
    assert.equal(await (await waiting)(), true)
    await Promise.all([a.close(), b.close()])
  }
  await nothingIsLeft()
})

test('a pooler that has no server any more says so to who waits, and to elections', async () => {
  const name = `dropped_${process.pid}`
  await database.sql.query(`CREATE DATABASE ${name}`)
  const url = new URL((await pooler({ default_pool_size: 2, server_login_retry: 1 })).connectionString)
  url.pathname = `/${name}`
  const createMutex = owner(url.href)
  assert.equal(await createMutex('any').withLock(() => 'works'), 'works')
  await database.sql.query(`DROP DATABASE ${name} WITH (FORCE)`)
  const gone = (error) => error.code === '08001' && error.cause.code === '08P01'
  await assert.rejects(createMutex('any').lock(), gone)
  const election = createMutex('leader').elect(() => assert.fail('nobody leads'))
  let error
  while (!error) [error] = await once(election, 'standby')
  assert.ok(gone(error), error)
  await election.stop()
  await createMutex.close()
})

test('a client that is cut off is told first, and then the lock is free', async (t) => {
  const { connectionString } = await pooler({ default_pool_size: 2 })
  const proxy = await startProxy(connectionString)
  t.after(() => proxy.close())
  const createMutex = owner(proxy.connectionString, { heartbeat: 200, answerTimeout: 300 })
  const unlock = await createMutex('cut off').lock()
  proxy.silence()
  const cutAt = performance.now()
  lost('ETIMEDOUT')(await lossOf(unlock.signal))
  const toldAfter = performance.now() - cutAt
  assert.equal(await sqlTry(database.sql, 'cut off'), false, 'nobody else is in yet')
  await nothingIsLeft(15_000)
  const freeAfter = performance.now() - cutAt
  assert.ok(toldAfter < 5000 && freeAfter < 12_000, `told after ${toldAfter} ms, free after ${freeAfter} ms`)
  await assert.rejects(unlock(), lost())
  proxy.close()
  await createMutex.close()
})

test('a pooler that is killed: holders are told, and the next call goes by the new one', async () => {
  const bouncer = await pooler({ default_pool_size: 5 })
  const createMutex = owner(bouncer.connectionString)
  const other = owner(bouncer.connectionString, { applicationName: 'other' })
  const unlock = await createMutex('restarted').lock()
  let isInside = false
  const inside = () => {
    isInside = true
    return lossOf(unlock.signal).then(() => sleep(1000))
  }
  const refused = assert.rejects(createMutex('while held').withLock(inside), lost())
  await until(() => isInside, 'both are held')
  await bouncer.kill()
  lost()(await lossOf(unlock.signal))
  await refused
  await assert.rejects(unlock(), lost())
  await assert.rejects(other('restarted').tryLock(), { code: 'ECONNREFUSED' })
  await bouncer.start()
  assert.equal(await createMutex('restarted').withLock(() => 'works'), 'works')
  assert.equal(await other('restarted').withLock(() => 'works'), 'works')
  await Promise.all([createMutex.close(), other.close()])
  await nothingIsLeft()
})

test('a wait whose pooler is gone is told', async () => {
  const bouncer = await pooler({ default_pool_size: 3 })
  const [holder, waiter] = [owner(database.connectionString), owner(bouncer.connectionString)]
  const unlock = await holder('gone').lock()
  const looked = async () => (await database.value(`SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE '%pg_lock_status%' AND pid <> pg_backend_pid()`)) > 0
  const told = assert.rejects(waiter('gone').lock(), { code: 'ECONNREFUSED' })
  await until(looked, 'it has been looked for')
  await bouncer.kill()
  await told
  await bouncer.start()
  assert.equal(await unlock(), true)
  assert.equal(await waiter('gone').withLock(() => 'works'), 'works')
  await Promise.all([holder.close(), waiter.close()])
  await nothingIsLeft()
})

test('a server session that is ended, or a statement in it that is cancelled while it holds: told, or no harm', async () => {
  const { connectionString } = await pooler({ default_pool_size: 2 })
  const createMutex = owner(connectionString)
  const unlock = await createMutex('ended').lock()
  await database.sql.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()`)
  assert.ok((await unlock.verify()) instanceof Date, 'what is idle is not cancelled')
  assert.equal(await database.terminate('ended'), 1)
  lost('57P01')(await lossOf(unlock.signal))
  await assert.rejects(unlock.verify(), lost())
  assert.equal(await createMutex('ended').withLock(() => 'works'), 'works')
  await createMutex.close()
})

test('limits of the pooler: a transaction that is idle too long is lost and told, one with heartbeats is not; an old server session is kept', async () => {
  const { connectionString } = await pooler({ default_pool_size: 4, idle_transaction_timeout: 2, server_lifetime: 1, server_idle_timeout: 1 })
  const [rare, often] = [owner(connectionString), owner(connectionString, { heartbeat: 300 })]
  const [short, long] = [await rare('rare').lock(), await often('often').lock()]
  lost()(await lossOf(short.signal))
  await sleep(3000)
  assert.ok((await long.verify()) instanceof Date)
  assert.equal(await long(), true)
  assert.equal(await rare('rare').withLock(() => 'works'), 'works')
  await Promise.all([rare.close(), often.close()])
  await nothingIsLeft()
})

test('settings of the database that are meant for queries do no harm', async () => {
  const name = await database.value('SELECT current_database()')
  const settings = {
    default_transaction_isolation: 'serializable', default_transaction_read_only: 'on', default_transaction_deferrable: 'on',
    idle_in_transaction_session_timeout: '1s', transaction_timeout: '2s', statement_timeout: '2s', lock_timeout: '100ms', exit_on_error: 'on',
  }
  for (const [setting, value] of Object.entries(settings)) await database.sql.query(`ALTER DATABASE ${name} SET ${setting} = '${value}'`)
  const open = await database.client()
  try {
    // Whoever asks for a snapshot that is safe would wait for this one.
    await open.query('SET statement_timeout = 0; SET transaction_timeout = 0; SET idle_in_transaction_session_timeout = 0')
    await open.query('BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; CREATE TABLE written (x int)')
    const { connectionString } = await pooler({ default_pool_size: 5 })
    const [a, b] = [owner(connectionString), owner(connectionString, { applicationName: 'b' })]
    const unlock = await a('settings').lock()
    const waiting = b('settings').lock({ timeout: 20_000 })
    await sleep(2500)
    assert.equal((await b('settings').holders()).length, 1)
    assert.ok((await unlock.verify()) instanceof Date)
    assert.equal(await unlock(), true)
    assert.equal(await (await waiting)(), true)
    await Promise.all([a.close(), b.close()])
  } finally {
    await open.query('ROLLBACK')
    for (const setting of Object.keys(settings)) await database.sql.query(`ALTER DATABASE ${name} RESET ${setting}`)
  }
})

test('no server session to be had: who cannot wait is told what is missing, who can goes on waiting', async () => {
  for (const settings of [{}, { query_wait_timeout: 1 }]) {
    const { connectionString } = await pooler({ default_pool_size: 1, ...settings })
    const holder = owner(connectionString)
    const other = owner(connectionString, { applicationName: 'other', answerTimeout: settings.query_wait_timeout ? 5000 : 1000 })
    const unlock = await holder('full').lock()
    await assert.rejects(other('another').tryLock(), { code: '53300', message: /pooler has no server session/ })
    await assert.rejects(other('another').lock({ timeout: 0 }), { code: '53300' })
    const [waiting, beside] = [other('another').lock(), other('full').lock()]
    await assert.rejects(other('a third').lock({ timeout: 3000 }), (error) => {
      assert.equal(error.code, 'ERR_LOCK_TIMEOUT')
      assert.equal(error.cause?.code, '53300', 'nobody has said that it is taken')
      return true
    })
    assert.ok((await unlock.verify()) instanceof Date, 'who holds needs no other session')
    assert.equal(await unlock(), true)
    // One after the other: there is one session for all.
    const first = await Promise.race([waiting, beside])
    assert.equal(await first(), true)
    for (const unlockNext of await Promise.all([waiting, beside])) await unlockNext()
    await Promise.all([holder.close(), other.close()])
    await nothingIsLeft()
  }
})

test('what holds a lock answers, and yet says nothing of one that no session could be asked for', async () => {
  const { connectionString } = await pooler({ default_pool_size: 1 })
  const createMutex = owner(connectionString, { heartbeat: 100 })
  const unlock = await createMutex('answers').lock()
  await assert.rejects(createMutex('unasked').lock({ timeout: 500 }), (error) => {
    assert.equal(error.code, 'ERR_LOCK_TIMEOUT')
    assert.equal(error.cause?.code, 'ETIMEDOUT', 'nobody has said that it is taken')
    return true
  })
  assert.equal(await unlock(), true)
  await createMutex.close()
  await nothingIsLeft()
})

test('more holds than sessions may be pinned: they queue in the process, and who cannot wait is told', async () => {
  const { connectionString } = await pooler({ default_pool_size: 10 })
  const createMutex = owner(connectionString, { maxPinnedConnections: 2 })
  const [one] = [await createMutex('1').lock(), await createMutex('2').lock()]
  await assert.rejects(createMutex('3').tryLock(), { code: '53300', message: /maxPinnedConnections/ })
  await assert.rejects(createMutex('3').lock({ timeout: 300 }), (error) => {
    assert.equal(error.code, 'ERR_LOCK_TIMEOUT')
    assert.equal(error.cause?.code, '53300', 'nobody could ask for it')
    assert.match(error.cause.message, /maxPinnedConnections/)
    return true
  })
  const third = createMutex('3').lock()
  assert.equal(await one(), true)
  assert.equal(await (await third)(), true)
  let inside = 0
  const outcomes = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      createMutex(`many ${index}`).withLock(async () => {
        assert.ok(++inside <= 2)
        await sleep(2)
        inside--
        return index
      }),
    ),
  )
  assert.deepEqual(outcomes, Array.from({ length: 30 }, (_, index) => index))
  assert.ok((await database.connectionCount()) <= 3, 'the two, and one that looks')
  await createMutex.close()
  await nothingIsLeft()
})

test('PAUSE waits for holds, waits go on through it, and RELOAD changes nothing', async () => {
  const bouncer = await pooler({ default_pool_size: 3, server_login_retry: 1 })
  const [holder, waiter] = [owner(bouncer.connectionString), owner(bouncer.connectionString, { applicationName: 'waiter', answerTimeout: 2000 })]
  const unlock = await holder('paused').lock()
  const waiting = waiter('paused').lock()
  let isPaused = false
  const paused = bouncer.command('PAUSE').then(() => (isPaused = true))
  await sleep(700)
  assert.equal(isPaused, false)
  assert.ok((await unlock.verify()) instanceof Date)
  assert.equal(await unlock(), true)
  await paused
  await sleep(700)
  await bouncer.command('RESUME')
  const next = await waiting
  await bouncer.command('RELOAD')
  assert.ok((await next.verify()) instanceof Date)
  assert.equal(await next(), true)
  await Promise.all([holder.close(), waiter.close()])
  await nothingIsLeft()
})

test('a process that stands still loses its lock, and is told before anything else of it runs', async (t) => {
  const { connectionString } = await pooler({ default_pool_size: 3 })
  const script = fileURLToPath(new URL('children/paused.cjs', import.meta.url))
  const options = JSON.stringify({ transactionPooling: true, heartbeat: 200, answerTimeout: 300 })
  const child = spawn(process.execPath, [script, connectionString, 'stands still', 'main', options], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGCONT')
    child.stdin.end()
    await exited
  })
  const events = []
  createInterface({ input: child.stdout }).on('line', (line) => events.push(JSON.parse(line)))
  const event = async (name) => {
    await until(() => events.some((one) => one.event === name), name)
    return events.find((one) => one.event === name)
  }
  await event('held')
  child.kill('SIGSTOP')
  const createMutex = owner(connectionString)
  const unlock = await createMutex('stands still').lock({ timeout: 20_000 })
  child.kill('SIGCONT')
  assert.equal((await event('goes on')).aborted, true)
  assert.equal((await event('unlocked')).code, 'ERR_LOCK_LOST')
  assert.equal(await unlock(), true)
  assert.equal((await event('next')).value, 'function', 'and the wait of another owner goes on')
  await createMutex.close()
})
