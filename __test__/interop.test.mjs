// A plain client that takes the same key by SQL and this package exclude each other, as during a migration.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'

const database = await openDatabase()
const createMutex = advisoryLock(database.connectionString)

test('they hold: we wait, and get it when they let go', async () => {
  for (const [theirs, method, excluded] of [
    ['', 'lock', true],
    ['', 'lockShared', true],
    ['_shared', 'lock', true],
    ['_shared', 'lockShared', false],
  ]) {
    const name = `theirs ${theirs} ${method}`
    await sqlLock(database.sql, name, theirs)
    const tried = await createMutex(name)[method.replace('lock', 'tryLock')]()
    assert.equal(tried, !excluded, name)
    const wait = createMutex(name)[method]()
    if (excluded) await database.waiter(name)
    else await wait
    await sqlUnlock(database.sql, name, theirs)
    await (
      await wait
    )()
    if (tried) await createMutex(name).unlockShared()
    assert.equal(await sqlTry(database.sql, name), true)
  }
})

test('we hold: they wait, and get it when we let go', async () => {
  const client = await database.client()
  for (const [method, theirs, excluded] of [
    ['lock', '', true],
    ['lock', '_shared', true],
    ['lockShared', '', true],
    ['lockShared', '_shared', false],
  ]) {
    const name = `ours ${method} ${theirs}`
    const unlock = await createMutex(name)[method]()
    assert.equal(await sqlTry(database.sql, name, theirs), !excluded, name)
    if (excluded) {
      const wait = sqlLock(client, name, theirs)
      await until(() => database.value('SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)'), 'they wait')
      await unlock()
      await wait
      assert.equal(await createMutex(name).tryLock(), false)
      await sqlUnlock(client, name, theirs)
    } else {
      await unlock()
    }
  }
})

test('a lock is one of its database', async () => {
  const unlock = await createMutex('database').lock()
  const admin = await database.client(database.connectionString.replace(/[^/]+$/, 'postgres'))
  assert.equal(await sqlTry(admin, 'database'), true)
  await unlock()
})
