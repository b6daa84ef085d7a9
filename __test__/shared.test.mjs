// Shared holds, against each other and against exclusive ones, and changes from one mode to the other.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { startChild } from './support/process.mjs'

const database = await openDatabase()
const owner = () => advisoryLock(database.connectionString)
const a = owner()
const b = owner()

test('the results of the shared methods', async () => {
  const mutex = a('results')
  assert.equal(await mutex.unlockShared(), false)
  const unlock = await mutex.lockShared()
  assert.equal(await mutex.tryLockShared(), true)
  assert.equal(await mutex.unlock(), false, 'no exclusive hold')
  assert.equal(await mutex.unlockShared(), true)
  assert.equal(await unlock(), true)
  assert.equal(await mutex.unlockShared(), false)
  assert.equal(await mutex.withLockShared(() => 3), 3)
  assert.equal(await sqlTry(database.sql, 'results'), true)
})

test('shared holds go together, and not with an exclusive one', async () => {
  await a('readers').lockShared()
  assert.equal(await b('readers').tryLockShared(), true)
  assert.equal(await owner()('readers').tryLock(), false)
  assert.equal(await sqlTry(database.sql, 'readers', '_shared'), true)
  assert.equal(await sqlTry(database.sql, 'readers'), false)
  const writer = owner()('readers').lock()
  assert.equal(await b('readers').unlockShared(), true)
  assert.equal(await a('readers').unlockShared(), true)
  const unlock = await writer
  assert.equal(await a('readers').tryLockShared(), false)
  assert.equal(await sqlTry(database.sql, 'readers', '_shared'), false)
  const reader = a('readers').lockShared()
  await unlock()
  await (
    await reader
  )()
})

test('between two processes, in both orders', async () => {
  const one = startChild('remote', database.connectionString)
  const two = startChild('remote', database.connectionString)
  after(() => [one, two].forEach((child) => child.kill()))
  assert.deepEqual([await one.next(), await two.next()], ['ready', 'ready'])
  const name = 'processes'
  const ask = (child, method) => child.ask({ name, method })
  assert.deepEqual(await ask(one, 'lockShared'), { value: 'function' })
  assert.deepEqual(await ask(two, 'lockShared'), { value: 'function' })
  assert.deepEqual(await ask(two, 'unlockShared'), { value: true })
  assert.deepEqual(await ask(two, 'tryLock'), { value: false })
  const writer = ask(two, 'lock')
  await database.waiter(name)
  assert.deepEqual(await ask(one, 'unlockShared'), { value: true })
  assert.deepEqual(await writer, { value: 'function' })
  assert.deepEqual(await ask(one, 'tryLockShared'), { value: false })
  const reader = ask(one, 'lockShared')
  await database.waiter(name)
  assert.deepEqual(await ask(two, 'unlock'), { value: true })
  assert.deepEqual(await reader, { value: 'function' })
})

test('modes of one owner never conflict', async () => {
  const mutex = a('modes')
  await mutex.lock()
  assert.equal(await mutex.tryLockShared(), true)
  await mutex.lockShared()
  assert.equal(await mutex.tryLock(), true)
  for (const method of ['unlock', 'unlockShared', 'unlockShared', 'unlock']) assert.equal(await mutex[method](), true)
  assert.equal(await sqlTry(database.sql, 'modes'), true)
})

test('an exclusive hold given up leaves the shared one, without a gap', async () => {
  const mutex = a('downgrade')
  await mutex.lock()
  await mutex.lockShared()
  const foreignWriter = await database.client()
  const writer = sqlLock(foreignWriter, 'downgrade')
  await until(() => database.value('SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)'), 'the writer waits')
  assert.equal(await mutex.unlock(), true)
  const [lock] = (await database.locks('downgrade')).filter(({ granted }) => granted)
  assert.equal(lock.exclusive, false, 'held shared on the server')
  assert.equal(await mutex.unlockShared(), true)
  await writer
  await sqlUnlock(foreignWriter, 'downgrade')

  await mutex.lock()
  await mutex.lockShared()
  await mutex.unlock()
  assert.equal(await sqlTry(database.sql, 'downgrade', '_shared'), true, 'other readers may enter')
  assert.equal(await b('downgrade').tryLockShared(), true)
  assert.equal(await sqlTry(database.sql, 'downgrade'), false, 'writers may not')
  await b('downgrade').unlockShared()
  await mutex.unlockShared()
})

test('an upgrade of the only reader', async () => {
  const mutex = a('upgrade')
  await mutex.lockShared()
  await mutex.lock()
  assert.equal(await sqlTry(database.sql, 'upgrade', '_shared'), false)
  assert.equal(await mutex.unlock(), true)
  assert.equal(await sqlTry(database.sql, 'upgrade', '_shared'), true)
  assert.equal(await mutex.unlockShared(), true)
  assert.equal(await sqlTry(database.sql, 'upgrade'), true)
})

test('an upgrade waits for other readers in this process', async () => {
  await a('upgrade local').lockShared()
  await b('upgrade local').lockShared()
  assert.equal(await a('upgrade local').tryLock(), false)
  const upgrade = a('upgrade local').lock()
  assert.equal(await owner()('upgrade local').tryLockShared(), false, 'nobody passes the upgrade')
  assert.equal(await b('upgrade local').unlockShared(), true)
  await upgrade
  assert.equal(await b('upgrade local').tryLockShared(), false)
  await a('upgrade local').unlock()
  await a('upgrade local').unlockShared()
})

test('an upgrade waits for a foreign reader, and its own release does not wait for it', async () => {
  await sqlLock(database.sql, 'upgrade foreign', '_shared')
  const mutex = a('upgrade foreign')
  await mutex.lockShared()
  assert.equal(await mutex.tryLock(), false)
  await a('bystander').lock()
  const upgrade = mutex.lock()
  assert.equal(await a('bystander').unlock(), true)
  await sqlUnlock(database.sql, 'upgrade foreign', '_shared')
  await upgrade
  assert.equal(await sqlTry(database.sql, 'upgrade foreign', '_shared'), false)
  await mutex.unlock()
  await mutex.unlockShared()
  assert.equal(await sqlTry(database.sql, 'upgrade foreign'), true)
})

test('an upgrade passes a foreign writer who waits for its shared hold', async () => {
  const mutex = a('upgrade queued')
  await mutex.lockShared()
  const foreignWriter = await database.client()
  const writer = sqlLock(foreignWriter, 'upgrade queued')
  await until(() => database.value('SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)'), 'the writer waits')
  await mutex.lock()
  await mutex.unlock()
  await mutex.unlockShared()
  await writer
  await sqlUnlock(foreignWriter, 'upgrade queued')
})

test('the same on a wait session, which is the home of a contended key', async () => {
  await sqlLock(database.sql, 'upgrade waited')
  const mutex = a('upgrade waited')
  const reader = mutex.lockShared()
  await database.waiter('upgrade waited')
  await sqlUnlock(database.sql, 'upgrade waited')
  await reader
  await sqlLock(database.sql, 'upgrade waited', '_shared')
  const upgrade = mutex.lock()
  await database.waiter('upgrade waited')
  assert.equal(await mutex.unlockShared(), true, 'a release is never stuck behind the upgrade')
  await mutex.lockShared({ timeout: 2000 }).then(
    (unlock) => unlock(),
    () => {},
  )
  await sqlUnlock(database.sql, 'upgrade waited', '_shared')
  await upgrade
  assert.equal(await mutex.unlock(), true)
  assert.equal(await sqlTry(database.sql, 'upgrade waited'), true)
})

test('two upgrades of one key wait for each other: the later one is refused', async () => {
  await a('both').lockShared()
  await b('both').lockShared()
  const first = a('both').lock()
  await assert.rejects(b('both').lock(), { code: '40P01' })
  await b('both').unlockShared()
  await first
  await a('both').unlock()
  await a('both').unlockShared()
})
