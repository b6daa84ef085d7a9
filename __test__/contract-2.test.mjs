// Contract 2 (advisory-lock 2.x): what both the original and this package do, then what only this package does.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import original from 'advisory-lock'
import advisoryLock, { strToKey } from '../v2.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { runChild, startChild } from './support/process.mjs'

const database = await openDatabase()
const { connectionString } = database

for (const [subject, contract2] of [
  ['advisory-lock-native/v2', advisoryLock],
  ['advisory-lock@2.0.0', original.default],
]) {
  const createMutex = contract2(connectionString)
  const is = (promise) => `${subject}: ${promise}`
  const free = (name) => sqlTry(database.sql, name)

  test(is('lock resolves to the unlock function, which resolves to nothing'), async () => {
    const unlock = await createMutex('lock').lock()
    assert.equal(typeof unlock, 'function')
    assert.equal(await free('lock'), false)
    assert.equal(await unlock(), undefined)
    assert.equal(await free('lock'), true)
  })

  test(is('tryLock resolves to the unlock function or to nothing'), async () => {
    const unlock = await createMutex('try').tryLock()
    assert.equal(typeof unlock, 'function')
    assert.equal(await createMutex('try').tryLock(), undefined)
    assert.equal(await contract2(connectionString)('try').tryLock(), undefined)
    await unlock()
    assert.equal(await free('try'), true)
  })

  test(is('two calls on one mutex exclude each other'), async () => {
    const { lock, tryLock, withLock } = createMutex('exclude')
    const unlock = await lock()
    assert.equal(await tryLock(), undefined)
    const order = []
    const next = withLock(() => order.push('second'))
    await database.waiter('exclude', subject.endsWith('v2') ? 0 : 1)
    order.push('first')
    await unlock()
    await next
    assert.deepEqual(order, ['first', 'second'])
  })

  test(is('unlock releases the latest hold, and is nothing where there is none'), async () => {
    const { lock, tryLock, unlock } = createMutex('unlock')
    assert.equal(await unlock(), undefined)
    await lock()
    assert.equal(await unlock(), undefined)
    assert.equal(await free('unlock'), true)
    await tryLock()
    await unlock()
    assert.equal(await free('unlock'), true)
    const release = await createMutex('unlock').lock()
    await createMutex('unlock').unlock()
    assert.equal(await free('unlock'), false, 'not what was taken through another mutex')
    await release()
  })

  test(is('withLock gives what the function gives, and releases'), async () => {
    const { withLock } = createMutex('with')
    const reason = new Error('on purpose')
    assert.equal(await withLock(async (...parameters) => [parameters.length, await free('with')].join()), '0,false')
    assert.equal(await withLock(() => 5), 5)
    assert.equal(await withLock(), undefined)
    const throws = () => {
      throw reason
    }
    for (const fn of [() => Promise.reject(reason), throws]) await assert.rejects(withLock(fn), (error) => error === reason)
    assert.equal(await free('with'), true)
  })

  test(is('a pair of integers is a key'), async () => {
    const unlock = await createMutex([1, -2]).lock()
    assert.equal(await sqlTry(database.sql, [1, -2]), false)
    await unlock()
  })

  test(is('a held lock keeps the process alive; its release ends it'), async () => {
    const module = subject.endsWith('v2') ? '../../v2.js' : 'advisory-lock'
    const child = runChild('contract-2', [module, connectionString, 'alive'])
    await until(async () => (await database.locks('alive')).length === 1, 'the child holds the lock')
    // Longer than anything else that could keep it alive.
    assert.equal(await Promise.race([child, new Promise((resolve) => setTimeout(resolve, 1500, 'alive'))]), 'alive')
    await sqlLock(database.sql, 'alive, go')
    const { status, stdout, stderr } = await child
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'held\nreleased\n', stderr: '' })
    await sqlUnlock(database.sql, 'alive, go')
  })
}

const createMutex = advisoryLock(connectionString)
const other = advisoryLock(connectionString)

test('strToKey is the same in both', () => {
  for (const name of ['', 'test-lock', 'ü']) assert.deepEqual(strToKey(name), original.strToKey(name))
})

test('the original and this package exclude each other', async () => {
  const theirs = original.default(connectionString)('both')
  const unlock = await theirs.lock()
  assert.equal(await createMutex('both').tryLock(), undefined)
  const ours = createMutex('both').lock()
  await database.waiter('both', 1)
  await unlock()
  const release = await ours
  assert.equal(await theirs.tryLock(), undefined)
  await release()
})

test('an unlock function is idempotent and releases only its own hold', async () => {
  const { lock, unlock } = createMutex('idempotent')
  const first = await lock()
  assert.equal(await first(), undefined)
  await lock()
  assert.equal(await first(), undefined)
  assert.equal(await sqlTry(database.sql, 'idempotent'), false)
  await unlock()
  await unlock()
  assert.equal(await sqlTry(database.sql, 'idempotent'), true)
})

test('unlock and unlockShared release the latest of many holds', async () => {
  const { lockShared, tryLock, unlock, unlockShared, withLock } = createMutex('many')
  const releases = []
  for (let count = 0; count < 50; count++) releases.push(await lockShared())
  for (const release of releases.slice(10, 40)) await release()
  for (let left = 20; left > 0; left--) {
    assert.equal(await tryLock(), undefined)
    assert.equal(await unlock(), undefined, 'nothing is held exclusively')
    await unlockShared()
  }
  await withLock(async () => {
    await unlock()
    assert.equal(await sqlTry(database.sql, 'many'), true, 'the only hold was that of withLock')
  })
})

test('unlock leaves the hold of withLock alone where there is another', async () => {
  const { lockShared, unlockShared, withLockShared } = createMutex('leave')
  await lockShared()
  await withLockShared(async () => {
    await unlockShared()
    assert.equal(await sqlTry(database.sql, 'leave'), false)
  })
  assert.equal(await sqlTry(database.sql, 'leave'), true)
})

test('shared holds are together, exclusive ones alone', async () => {
  const { lock, lockShared, tryLock, tryLockShared, withLockShared } = createMutex('shared')
  const first = await lockShared()
  const second = await tryLockShared()
  assert.equal(typeof second, 'function')
  assert.equal(await withLockShared(() => 'inside'), 'inside')
  assert.equal(await tryLock(), undefined)
  const writer = lock()
  await first()
  await second()
  const unlock = await writer
  assert.equal(await tryLockShared(), undefined)
  await unlock()
})

test('limits', async () => {
  const { lock, withLock } = createMutex('limits')
  const unlock = await lock()
  await assert.rejects(lock({ timeout: 20 }), { code: 'ERR_LOCK_TIMEOUT' })
  await assert.rejects(lock({ timeout: 0 }), { code: 'ERR_LOCK_TIMEOUT' })
  const reason = new Error('enough')
  const controller = new AbortController()
  const waiting = withLock(assert.fail, { signal: controller.signal })
  controller.abort(reason)
  await assert.rejects(waiting, (error) => error === reason)
  await assert.rejects(lock({ timeOut: 5 }), { name: 'TypeError', message: /timeOut/ })
  await unlock()
  assert.equal(await withLock((signal) => signal.aborted, {}), false)
})

test('a lost hold: its signal fires, its unlock rejects, and the process may end', async () => {
  const { lock, unlock, withLock } = createMutex('lost')
  const release = await lock()
  const lost = new Promise((resolve) => release.signal.addEventListener('abort', resolve))
  await database.terminate('lost')
  await lost
  assert.equal(release.signal.reason.code, 'ERR_LOCK_LOST')
  await assert.rejects(release(), { code: 'ERR_LOCK_LOST' })
  await unlock()
  await lock()
  await database.terminate('lost')
  await until(async () => (await database.locks('lost')).length === 0, 'the session is gone')
  await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
  assert.equal(await unlock(), undefined, 'it tells once')
  const told = assert.rejects(withLock(() => new Promise(() => {})), { code: 'ERR_LOCK_LOST' })
  await until(async () => (await database.locks('lost')).length === 1, 'held')
  await database.terminate('lost')
  await told
  assert.equal(await unlock(), undefined, 'withLock has told it')
  const { status, stdout } = await runChild('contract-2', ['../../v2.js', connectionString, 'lose'])
  assert.deepEqual({ status, stdout }, { status: 0, stdout: 'held\nlost\n' })
})

test('close gives up what was taken, ends what waits, and lets the process end', async () => {
  const short = advisoryLock(connectionString)
  const unlock = await short('close').lock()
  const waiting = short('close').lock()
  await Promise.all([
    assert.rejects(waiting, { code: 'ERR_CLIENT_CLOSED' }),
    short.close(),
  ])
  assert.equal(await sqlTry(database.sql, 'close'), true)
  assert.equal(await unlock(), undefined)
  await assert.rejects(short('close').lock(), { code: 'ERR_CLIENT_CLOSED' })
  await assert.rejects(short('close').holders(), { code: 'ERR_CLIENT_CLOSED' })
  await short[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]()
  assert.equal(short.client, undefined)
  const { status, stdout } = await runChild('contract-2', ['../../v2.js', connectionString, 'close'])
  assert.deepEqual({ status, stdout }, { status: 0, stdout: 'held\nclosed\n' })
})

test('1,000 holds at once take three connections at most, and none is left a second later', async () => {
  await until(async () => (await database.connectionCount()) === 0, 'the earlier tests are over')
  const unlocks = await Promise.all(Array.from({ length: 1000 }, (_, index) => other(`name ${index}`).lock()))
  assert.equal(await database.lockCount(), 1000)
  const connections = await database.connectionCount()
  assert.ok(connections <= 3, `${connections} connections`)
  await Promise.all(unlocks.map((unlock) => unlock()))
  assert.equal(await database.lockCount(), 0)
  // A second is meant, and given to a machine that has nothing else to do; a connection that is idle in the usual way stays for ten.
  await until(async () => (await database.connectionCount()) === 0, 'no connection is left', 6000)
})

test('what nobody can use any more is closed by itself, what is held is not', async () => {
  await until(async () => (await database.connectionCount()) === 0, 'the earlier tests are over')
  const child = startChild('contract-2', '../../v2.js', connectionString, 'forget')
  after(() => child.kill())
  assert.equal(await child.next(), 'forgotten')
  await until(async () => (await database.connectionCount()) === 1, 'only the session that holds is left')
  assert.equal(await sqlTry(database.sql, 'kept'), false)
})
