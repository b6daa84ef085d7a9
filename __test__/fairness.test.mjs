// Who gets a lock next: first in, first out within the process, and nobody's turn is endless towards other processes.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startChild } from './support/process.mjs'

const database = await openDatabase()
const owner = () => advisoryLock(database.connectionString)

test('64 owners on one name are served in the order of their calls', async () => {
  await sqlLock(database.sql, 'order')
  const served = []
  const all = Array.from({ length: 64 }, (_, index) => owner()('order').withLock(() => served.push(index)))
  await database.waiter('order')
  await sqlUnlock(database.sql, 'order')
  await Promise.all(all)
  assert.deepEqual(
    served,
    served.map((_, index) => index),
  )
})

test('a busy process gives a plain client its turn', async () => {
  let turns = 0
  let over = false
  const caller = async () => {
    const { withLock } = owner()('busy')
    while (!over) {
      await withLock(() => void turns++)
      // A macrotask now and then, as any real work has.
      if (turns % 100 === 0) await new Promise(setImmediate)
    }
  }
  const callers = Array.from({ length: 16 }, caller)
  await until(() => turns > 1000, 'the process is busy')
  for (let turn = 0; turn < 5; turn++) {
    await sqlLock(database.sql, 'busy')
    const inside = turns
    await new Promise((resolve) => setTimeout(resolve, 10))
    assert.equal(turns, inside, 'nobody else is inside')
    await sqlUnlock(database.sql, 'busy')
    await until(() => turns > inside, 'the process goes on')
  }
  over = true
  await Promise.all(callers)
})

test('readers who keep coming do not keep a foreign writer out', async () => {
  let turns = 0
  let over = false
  const reader = async () => {
    const { withLockShared } = owner()('readers')
    while (!over) {
      await withLockShared(async () => {
        turns++
        // Overlaps with the other readers, so that the key is never free by itself.
        await new Promise((resolve) => setTimeout(resolve, 3))
      })
    }
  }
  const readers = Array.from({ length: 8 }, reader)
  await until(() => turns > 50, 'the readers are busy')
  await sqlLock(database.sql, 'readers')
  const inside = turns
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(turns, inside)
  await sqlUnlock(database.sql, 'readers')
  await until(() => turns > inside + 50, 'the readers go on')
  over = true
  await Promise.all(readers)
})

for (const [processes, callers] of [
  [2, 1],
  [4, 4],
]) {
  test(`${processes} processes with ${callers} callers each share the turns`, async () => {
    const crowds = Array.from({ length: processes }, () =>
      startChild('crowd', database.connectionString, `crowd ${processes}`, callers),
    )
    after(() => crowds.forEach((crowd) => crowd.kill()))
    const start = await Promise.all(
      crowds.map(async (crowd) => {
        let turns = 0
        await until(async () => (turns = await crowd.ask('turns')) > 0, 'each process has had a turn')
        return turns
      }),
    )
    // From the moment that all are there: until each has had a fair number of turns of about 20 ms.
    const least = 3 * Math.max(1, ...start)
    await until(
      async () => (await Promise.all(crowds.map((crowd) => crowd.ask('turns')))).every((turns) => turns > least),
      'each process gets turns again and again',
      20_000,
    )
    const before = await Promise.all(crowds.map((crowd) => crowd.ask('turns')))
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const turns = (await Promise.all(crowds.map((crowd) => crowd.ask('turns')))).map((now, index) => now - before[index])
    const total = turns.reduce((sum, share) => sum + share)
    for (const share of turns) {
      assert.ok(share / total > 0.4 / processes, `${share} of ${total} turns are less than a fair share: ${turns}`)
    }
    crowds.forEach((crowd) => crowd.send('stop'))
    await Promise.all(crowds.map((crowd) => crowd.exited))
  })
}

test('more processes than have places in the queue: those who come again and again keep nobody out', async () => {
  // A config of its own stands for a process.
  const turns = Array.from({ length: 40 }, () => 0)
  const createMutexes = turns.map((_, index) => advisoryLock(database.connectionString, { applicationName: `many ${index}` }))
  let over = false
  const callers = createMutexes.map(async (createMutex, index) => {
    while (!over) {
      await createMutex('many').withLock(() => new Promise((resolve) => setTimeout(resolve, 5)))
      turns[index]++
    }
  })
  try {
    await until(() => Math.min(...turns) >= 3, 'each has three turns', 60_000)
  } finally {
    over = true
    await Promise.all(callers)
    await Promise.all(createMutexes.map((createMutex) => createMutex.close()))
  }
  const total = turns.reduce((sum, count) => sum + count)
  assert.ok(total < 50 * turns.length, `${total} turns until each of ${turns.length} had three: ${turns}`)
})

test('a wait beyond the connections of a process, beside eight that stand by, is overtaken little more than one in the queue', async () => {
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
  // A config of its own stands for a process.
  const processOf = (applicationName) => advisoryLock(database.connectionString, { applicationName })
  const [holder, standby, free] = ['holder', 'standby', 'free'].map(processOf)
  const leaders = Array.from({ length: 8 }, (_, index) => `leader ${index}`)
  for (const leader of leaders) await holder(leader).lock()
  const waits = leaders.map((leader) => standby(leader).lock())
  let turns = 0
  let isOver = false
  const owners = ['one', 'other'].flatMap((name) => Array.from({ length: 4 }, () => processOf(name)))
  const callers = owners.map(async (createMutex) => {
    while (!isOver) {
      await createMutex('busy').withLock(() => pause(5))
      turns++
    }
  })
  /** By how many turns of others each of some waits is overtaken, the least first. */
  const overtaken = async (createMutex) => {
    const all = []
    while (all.length < 9) {
      const before = turns
      const unlock = await createMutex('busy').lock()
      all.push(turns - before)
      await unlock()
    }
    return all.sort((a, b) => a - b)
  }
  try {
    for (const leader of leaders) await database.waiter(leader)
    const queued = await overtaken(free)
    const beyond = await overtaken(standby)
    assert.ok(beyond[4] < 25 * Math.max(queued[4], 4), `${beyond} beside ${queued}`)
  } finally {
    isOver = true
    await Promise.all(callers)
    await Promise.all([holder, ...owners, free].map((createMutex) => createMutex.close()))
    await Promise.all(waits)
    await standby.close()
  }
})

test('upgrades that wait slow nobody down', async () => {
  const createMutex = owner()
  const names = Array.from({ length: 20 }, (_, index) => `upgraded ${index}`)
  const timeOfPair = async () => {
    const times = []
    for (let count = 0; count < 300; count++) {
      const begin = performance.now()
      await createMutex('beside them').withLock()
      times.push(performance.now() - begin)
    }
    return times.sort((a, b) => a - b)[150]
  }
  const shared = await Promise.all(names.map((name) => createMutex(name).lockShared()))
  await timeOfPair()
  const alone = await timeOfPair()
  for (const name of names) await sqlLock(database.sql, name, '_shared')
  const upgrades = names.map((name) => createMutex(name).lock())
  const beside = await timeOfPair()
  for (const name of names) await sqlUnlock(database.sql, name, '_shared')
  for (const unlock of [...(await Promise.all(upgrades)), ...shared]) assert.equal(await unlock(), true)
  await createMutex.close()
  // Where each of them blocked the session for a moment it took 25 to 40 times as long.
  assert.ok(beside < 6 * alone, `${beside.toFixed(2)} ms a pair, ${alone.toFixed(2)} without upgrades`)
})

test('an upgrade goes before those who wait for the lock in the queue', async () => {
  const createMutex = owner()
  const shared = await createMutex('before').lockShared()
  await sqlLock(database.sql, 'before', '_shared')
  const upgrade = createMutex('before').lock()
  const rival = await database.client()
  const next = sqlLock(rival, 'before')
  const waiting = () => database.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = $1", [rival.processID])
  await until(async () => Number(await waiting()) === 1, 'the rival waits')
  await sqlUnlock(database.sql, 'before', '_shared')
  const exclusive = await upgrade
  assert.equal(Number(await waiting()), 1)
  assert.equal(await exclusive(), true)
  assert.equal(await shared(), true)
  await next
  await sqlUnlock(rival, 'before')
  await createMutex.close()
})

test('an upgrade needs no place in the queue, of which those who stand by may have every one', async () => {
  const createMutex = owner()
  // Waited for, so that the upgrade waits in the queue as well, where the lock is held.
  await sqlLock(database.sql, 'full')
  const waiting = createMutex('full').lockShared()
  await database.waiter('full')
  await sqlUnlock(database.sql, 'full')
  const shared = await waiting
  await sqlLock(database.sql, 'full', '_shared')
  const digest = createHash('sha256').update(`advisory-lock-native places [${advisoryLock.strToKey('full').join(', ')}]`).digest()
  const first = digest.readBigInt64LE() & ~15n
  const places = await database.client()
  await places.query('SELECT pg_advisory_lock($1::int8 | place) FROM generate_series(0, 15) places(place)', [first])
  const stranger = advisoryLock(database.connectionString, { applicationName: 'stranger' })
  const next = stranger('full').lock()
  const rival = await database.client()
  const queued = sqlLock(rival, 'full')
  const upgrade = createMutex('full').lock()
  await until(async () => (await database.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = $1", [rival.processID])) === '1', 'the rival waits')
  await sqlUnlock(database.sql, 'full', '_shared')
  let exclusive
  upgrade.then((unlock) => (exclusive = unlock))
  await until(() => exclusive, 'the upgrade')
  assert.deepEqual((await database.locks('full')).filter(({ granted }) => !granted), [], 'who has no place does not queue')
  assert.equal(await exclusive(), true)
  assert.equal(await shared(), true)
  await queued
  await sqlUnlock(rival, 'full')
  await places.query('SELECT pg_advisory_unlock_all()')
  await (
    await next
  )()
  await Promise.all([createMutex.close(), stranger.close()])
})
