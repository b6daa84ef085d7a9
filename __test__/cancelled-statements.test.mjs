// Somebody has the server cancel whatever our sessions do, as fast as it can (`pg_cancel_backend` in a loop, as a script of an
// operator's does that means slow queries): calls may fail by that, but no session is lost, and nothing stays locked.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import advisoryLock from '../v2.js'
import { openDatabase, until } from './support/database.mjs'

const database = await openDatabase()
const SECONDS = 8

/** Cancels in twos, as the second one may hit what follows from the first. */
const CANCEL = `DO $$ DECLARE session int; BEGIN
  FOR round IN 1..50 LOOP
    FOR session IN SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'cancelled %' LOOP
      PERFORM pg_cancel_backend(session);
      PERFORM pg_cancel_backend(session);
    END LOOP;
    PERFORM pg_stat_clear_snapshot();
    PERFORM pg_sleep(random() * 0.001);
  END LOOP;
END $$`

test('statements are cancelled in their midst, again and again', { timeout: 60_000 }, async () => {
  const factories = [1, 2, 3, 4].map((number) => advisoryLock(database.connectionString, { applicationName: `cancelled ${number}`, idleTimeout: 60_000 }))
  let isOver = false
  let grants = 0
  const holders = new Map()
  const failures = new Set()
  const hold = async (name) => {
    assert.equal(holders.get(name), undefined, 'nobody else has it')
    holders.set(name, true)
    await sleep(Math.random() * 2)
    holders.delete(name)
    grants++
  }
  const call = async (mutex, name) => {
    const take = Math.random() < 0.7 ? mutex.withLock : mutex.tryWithLock
    await take(() => hold(name)).catch((error) => failures.add(error.code ?? error))
  }
  const callers = factories.flatMap((createMutex) =>
    [1, 2, 3, 4, 5, 6].map(async (number) => {
      const name = `name ${number}`
      while (!isOver) await call(createMutex(name), name)
    }),
  )
  const cancelling = [1, 2].map(async () => {
    const client = await database.client()
    while (!isOver) await client.query(CANCEL)
  })
  await sleep(SECONDS * 1000)
  isOver = true
  await Promise.all([...cancelling, ...callers])
  assert.ok(grants > 0)
  failures.delete('57014')
  assert.deepEqual([...failures], [], 'nothing fails by anything else')
  // The sessions are there still.
  await until(async () => (await database.lockCount()) === 0, 'nothing is locked', 6000)
  assert.notEqual(await database.connectionCount(), 0)
  await Promise.all(factories.map((createMutex) => createMutex.close()))
})
