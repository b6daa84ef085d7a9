// Beside a real PgBouncer that lends server connections for one transaction: with `directConnectionString` locks are held by
// connections that lead past it, and long waits are looked for through it.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import advisoryLock2 from '../v2.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startProxy } from './support/proxy.mjs'

const database = await openDatabase()
const pooler = async (settings = {}) => {
  const started = await startPgBouncer(database.connectionString, 'transaction', { default_pool_size: 2, server_login_retry: 1, ...settings })
  after(started.stop)
  return started
}
/** A way past the pooler of which it is known how many use it. */
const directWay = async () => {
  let open = 0
  const proxy = await startProxy(database.connectionString, (socket) => {
    open++
    socket.on('close', () => open--)
  })
  after(proxy.close)
  return { ...proxy, open: () => open }
}
const shared = await pooler()
const owner = (directConnectionString = database.connectionString, options = {}, string = shared.connectionString, create = advisoryLock) =>
  create(string, { transactionPooling: true, directConnectionString, idleTimeout: 100, ...options })
const nothingIsLeft = () => until(async () => (await database.lockCount()) === 0, 'nothing is locked', 5000)
const LONG = { timeout: 30_000 }

test('locks are held by sessions, without a transaction, and everything works that does so directly', async () => {
  const [a, b] = [owner(), owner(database.connectionString, { applicationName: 'b' })]
  const unlock = await a('held').lock({ fencing: true })
  assert.equal(typeof unlock.token, 'bigint')
  const [{ pid }] = await b('held').holders()
  const state = () => database.value('SELECT state FROM pg_stat_activity WHERE pid = $1', [pid])
  assert.equal(await state(), 'idle')
  assert.ok((await unlock.verify()) instanceof Date)
  assert.equal(await b('held').tryLock(), false)
  const names = Array.from({ length: 20 }, (_, number) => `held ${number}`)
  assert.equal(await (await a.all(names).lock())(), true)
  const permit = await b.semaphore('permits', 2).lock()
  assert.equal(await permit(), true)
  const waiting = b('held').lockShared(LONG)
  assert.equal(await unlock(), true)
  assert.equal(await (await waiting)(), true)
  await Promise.all([a.close(), b.close()])
  await nothingIsLeft()
})

test('a wait that lasts has no direct connection, and gets the lock once it is free', async () => {
  const way = await directWay()
  const createMutex = owner(way.connectionString)
  await sqlLock(database.sql, 'long')
  const waiting = createMutex('long').lock()
  await until(() => way.open() > 0, 'it is asked for directly first')
  await until(() => way.open() === 0, 'nothing is left but looks', 10_000)
  assert.equal(createMutex.stats().waiting, 1)
  await until(() => createMutex.stats().sessions === 1, 'a session looks through the pooler')
  await sqlUnlock(database.sql, 'long')
  const unlock = await waiting
  assert.equal(await sqlTry(database.sql, 'long'), false)
  assert.equal(await unlock(), true)
  await createMutex.close()
  await nothingIsLeft()
})

test('a wait that lasts ends with its time, its signal and its owner', async () => {
  const way = await directWay()
  const createMutex = owner(way.connectionString)
  await sqlLock(database.sql, 'ends')
  const reason = new Error('not needed any more')
  const stopping = new AbortController()
  const timed = assert.rejects(createMutex('ends').lock({ timeout: 4000 }), (error) => {
    assert.equal(error.code, 'ERR_LOCK_TIMEOUT')
    assert.equal(error.cause, undefined, 'the server has said that the lock is taken')
    return true
  })
  const stopped = assert.rejects(createMutex('ends').lock({ signal: stopping.signal }), reason)
  const closed = assert.rejects(createMutex('ends').lock(), { code: 'ERR_CLIENT_CLOSED' })
  await until(() => way.open() > 0, 'it is asked for directly first')
  await until(() => way.open() === 0, 'nothing is left but looks', 10_000)
  stopping.abort(reason)
  await Promise.all([stopped, timed])
  await createMutex.close()
  await closed
  await sqlUnlock(database.sql, 'ends')
  await nothingIsLeft()
})

test('elections: the next one leads when the leader is gone', async () => {
  const way = await directWay()
  const candidates = Array.from({ length: 5 }, (_, number) => {
    const createMutex = owner(way.connectionString, { applicationName: `candidate ${number}` }, undefined, advisoryLock2)
    const election = createMutex('leader').elect(({ signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve)), { backoff: { min: 10, max: 100 } })
    return { createMutex, election, number }
  })
  const leaders = () => candidates.filter(({ election }) => election.isLeader)
  const leader = async (limit) => {
    await until(() => leaders().length > 0, 'one leads', limit)
    assert.equal(leaders().length, 1)
    return leaders()[0]
  }
  const first = await leader()
  await until(() => way.open() === 1, 'only who leads has a direct connection', 15_000)
  await first.createMutex.close()
  const second = await leader(20_000)
  assert.notEqual(second, first)
  await Promise.all(candidates.map(({ createMutex }) => createMutex.close()))
  await nothingIsLeft()
})

test('another database is found out, whichever of the two is meant, and no password is told', async () => {
  const other = new URL(database.connectionString)
  other.pathname = '/postgres'
  const bouncer = new URL(shared.connectionString)
  bouncer.pathname = '/postgres'
  for (const [direct, through] of [[other.href, shared.connectionString], [database.connectionString, bouncer.href]]) {
    const holder = advisoryLock(direct)
    const unlock = await holder('elsewhere').lock()
    const createMutex = owner(direct, {}, through)
    await assert.rejects(createMutex('elsewhere').lock(LONG), (error) => {
      assert.equal(error.code, 'ERR_OTHER_DATABASE')
      assert.match(error.message, /directConnectionString/)
      for (const { password } of [other, bouncer]) assert.ok(!error.message.includes(password) || password === '')
      return true
    })
    assert.equal(await unlock(), true)
    await Promise.all([createMutex.close(), holder.close()])
  }
  await nothingIsLeft()
})

test('a pooler that cannot be reached: waits go on directly', async () => {
  const gone = await pooler()
  await gone.stop()
  const way = await directWay()
  const createMutex = owner(way.connectionString, {}, gone.connectionString)
  await sqlLock(database.sql, 'alone')
  const waiting = createMutex('alone').lock(LONG)
  // It takes one turn after the other in the queue, for longer than it would before looks begin.
  const queued = "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
  const since = performance.now()
  await until(async () => performance.now() - since > 3000 && (await database.value(queued)) === 1, 'it waits in the queue')
  await sqlUnlock(database.sql, 'alone')
  assert.equal(await (await waiting)(), true)
  await createMutex.close()
  await nothingIsLeft()
})

test('a pooler that is killed and comes back during a wait: the wait goes on', async () => {
  const bouncer = await pooler()
  const way = await directWay()
  const createMutex = owner(way.connectionString, {}, bouncer.connectionString)
  await sqlLock(database.sql, 'survives')
  const waiting = createMutex('survives').lock(LONG)
  await until(() => way.open() > 0, 'it is asked for directly first')
  await until(() => way.open() === 0, 'nothing is left but looks', 10_000)
  await bouncer.kill()
  await until(() => createMutex.stats().sessions === 0, 'the session that looked is gone')
  await bouncer.start()
  await sqlUnlock(database.sql, 'survives')
  assert.equal(await (await waiting)(), true)
  await createMutex.close()
  await nothingIsLeft()
})

test('a server that cannot be reached directly: whoever waits is told when the lock could be had', async () => {
  const way = await directWay()
  const createMutex = owner(way.connectionString)
  await sqlLock(database.sql, 'unreachable')
  const waiting = assert.rejects(createMutex('unreachable').lock(LONG), { code: 'ECONNREFUSED' })
  await until(() => way.open() > 0, 'it is asked for directly first')
  await until(() => way.open() === 0, 'nothing is left but looks', 10_000)
  way.refuse()
  await sqlUnlock(database.sql, 'unreachable')
  await waiting
  await assert.rejects(createMutex('unreachable').tryLock(), { code: 'ECONNREFUSED' })
  await createMutex.close()
})

test('two who wait for each other are told, though their waits last', async () => {
  const [a, b] = [owner(), owner(database.connectionString, { applicationName: 'b' })]
  await a('ring 1').lock()
  await b('ring 2').lock()
  const refused = await new Promise((resolve) => {
    a('ring 2').lock(LONG).catch((error) => a.close().then(() => resolve(error)))
    b('ring 1').lock(LONG).catch((error) => b.close().then(() => resolve(error)))
  })
  assert.equal(refused.code, '40P01')
  await Promise.all([a.close(), b.close()])
  await nothingIsLeft()
})

test('a wait that has lasted is seen again once somebody waits behind it who holds something', async () => {
  const way = await directWay()
  const [first, second] = [owner(way.connectionString), owner(way.connectionString)]
  const other = owner(database.connectionString, { applicationName: 'other' })
  const unlock = await other('late 1').lock()
  const waiting = first('late 1').lock(LONG)
  await until(() => way.open() > 0, 'it is asked for directly first')
  await until(() => way.open() === 0, 'nothing is left but looks', 10_000)
  await second('late 2').lock()
  // Whoever is refused gives up what it holds, so that the others get on.
  const refused = await new Promise((resolve) => {
    second('late 1').lock(LONG).catch((error) => second.close().then(() => resolve(error)))
    other('late 2').lock(LONG).catch((error) => unlock().then(() => resolve(error)))
  })
  assert.equal(refused.code, '40P01')
  await other.close()
  assert.equal(await (await waiting)(), true)
  await Promise.all([first.close(), second.close()])
  await nothingIsLeft()
})

test('what does not go together is refused', async () => {
  const direct = database.connectionString
  const create = (options, string = shared.connectionString) => () => advisoryLock(string, options)
  const wrong = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }
  assert.throws(create({ transactionPooling: false, directConnectionString: direct }), { ...wrong, message: /transactionPooling/ })
  assert.throws(create({ directConnectionString: direct }), { ...wrong, message: /transactionPooling.*pgbouncer=true/ })
  assert.throws(create({ transactionPooling: true, directConnectionString: direct, maxPinnedConnections: 2 }), { ...wrong, message: /maxPinnedConnections/ })
  assert.throws(create({ transactionPooling: true, directConnectionString: `${direct}?pgbouncer=true` }), { ...wrong, message: /past the pooler/ })
  for (const value of [1, null, {}, new URL(direct)]) {
    assert.throws(create({ transactionPooling: true, directConnectionString: value }), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE', message: /^options\.directConnectionString / })
  }
  const malformed = advisoryLock(shared.connectionString, { transactionPooling: true, directConnectionString: 'postgres://user:s3cret@host:port/x' })
  await assert.rejects(malformed('x').lock(), (error) => {
    assert.equal(error.code, 'ERR_INVALID_URL')
    assert.match(error.message, /^directConnectionString: /)
    assert.doesNotMatch(error.message, /s3cret/)
    return true
  })
  // What the two have in common is said of both; and a string alone will do.
  const createMutex = advisoryLock(`${shared.connectionString}?pgbouncer=true`, { directConnectionString: direct, maxWaitConnections: 1, applicationName: 'by string' })
  const unlock = await createMutex('by string').lock()
  const [{ applicationName }] = await createMutex('by string').holders()
  assert.equal(applicationName, 'by string')
  assert.equal(await unlock(), true)
  await createMutex.close()
  // A direct way that is none.
  const roundabout = owner(shared.connectionString)
  await assert.rejects(roundabout('x').lock(), { code: 'ERR_TRANSACTION_POOLING' })
  await roundabout.close()
})
