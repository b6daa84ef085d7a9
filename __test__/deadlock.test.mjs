// Owners that wait for each other's locks: one of the cycle is refused with 40P01, the others go on.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { startChild } from './support/process.mjs'

const database = await openDatabase()

/** An owner in this process: `ask({ name, method })` answers what the call came to, as one in another process does. */
function localOwner(createMutex = advisoryLock(database.connectionString)) {
  return {
    ask: ({ name, method }) =>
      createMutex(name)[method]().then(
        () => ({ value: 'function' }),
        ({ code }) => ({ code }),
      ),
    end: () => createMutex.close(),
  }
}

async function remoteOwner() {
  const child = startChild('remote', database.connectionString)
  after(() => child.kill())
  assert.equal(await child.next(), 'ready')
  return {
    ask: (message) => child.ask(message),
    end: () => {
      child.kill()
      return child.exited
    },
  }
}

const take = async (owner, name, method = 'lock') => assert.deepEqual(await owner.ask({ name, method }), { value: 'function' })

/**
 * Each owner holds a name and waits for that of the next. One must be refused soon after the last wait (within 3 s on a
 * machine that has time); when it has ended, the one before it gets on, and so forth.
 */
async function closeCycle(owners, name) {
  for (const [index, owner] of owners.entries()) await take(owner, `${name} ${index}`)
  const since = performance.now()
  const waits = owners.map((owner, index) =>
    owner.ask({ name: `${name} ${(index + 1) % owners.length}`, method: 'lock' }).then((answer) => ({ index, answer })),
  )
  const { index: victim, answer } = await Promise.race(waits)
  const time = performance.now() - since
  assert.deepEqual(answer, { code: '40P01' })
  assert.ok(time > 900 && time < 6000, `after ${time} ms`)
  for (let step = 0; step < owners.length; step++) {
    const index = (victim + owners.length - step) % owners.length
    if (step > 0) assert.deepEqual((await waits[index]).answer, { value: 'function' }, 'the others go on')
    await owners[index].end()
  }
  await until(async () => (await database.lockCount()) === 0, 'nothing is left on the server')
}

for (const count of [2, 3]) {
  test(`a cycle of ${count} owners in one process`, async () => {
    await closeCycle(Array.from({ length: count }, () => localOwner()), 'local')
  })
  test(`a cycle of ${count} processes`, async () => {
    await closeCycle(await Promise.all(Array.from({ length: count }, remoteOwner)), 'remote')
  })
}

test('a cycle of two owners here and one elsewhere', async () => {
  await closeCycle([localOwner(), localOwner(), await remoteOwner()], 'mixed')
})

test('a cycle through waits that have no connection of their own', async () => {
  const crowded = advisoryLock(database.connectionString, { maxWaitConnections: 0 })
  await closeCycle([localOwner(crowded), await remoteOwner()], 'batched')
})

test('the youngest wait is refused', async () => {
  const [first, second] = [await remoteOwner(), localOwner()]
  await take(first, 'young one')
  await take(second, 'young two')
  const older = first.ask({ name: 'young two', method: 'lock' })
  await database.waiter('young two')
  // Two processes compare by the clock of the server, which each knows as well as it is answered quickly.
  await sleep(500)
  const younger = second.ask({ name: 'young one', method: 'lock' })
  const refused = await Promise.race([older.then((answer) => ['older', answer]), younger.then((answer) => ['younger', answer])])
  assert.deepEqual(refused, ['younger', { code: '40P01' }])
  await second.end()
  assert.deepEqual(await older, { value: 'function' })
  await first.end()
})

test('a cycle with a plain client: seen where the server says since when it waits', async () => {
  const version = Number(await database.value('SHOW server_version_num'))
  assert.ok(version >= 140_000, 'the server of the tests tells (PostgreSQL 14 or later)')
  const plain = await database.client()
  const owner = localOwner()
  await take(owner, 'plain one')
  await sqlLock(plain, 'plain two')
  const since = performance.now()
  const wait = owner.ask({ name: 'plain two', method: 'lock' })
  await database.waiter('plain two')
  const plainWait = sqlLock(plain, 'plain one')
  assert.deepEqual(await wait, { code: '40P01' })
  assert.ok(performance.now() - since < 6000)
  await owner.end()
  await plainWait
  await plain.query('SELECT pg_advisory_unlock_all()')
})

test('an upgrade against an upgrade, in one process and in two', async () => {
  for (const other of [localOwner(), await remoteOwner()]) {
    const owner = localOwner()
    await take(owner, 'upgrade', 'lockShared')
    await take(other, 'upgrade', 'lockShared')
    const since = performance.now()
    const waits = [owner, other].map((one) => one.ask({ name: 'upgrade', method: 'lock' }).then((answer) => ({ one, answer })))
    const { one, answer } = await Promise.race(waits)
    assert.deepEqual(answer, { code: '40P01' })
    assert.ok(performance.now() - since < 6000)
    await one.end()
    const rest = await waits[one === owner ? 1 : 0]
    assert.deepEqual(rest.answer, { value: 'function' })
    await rest.one.end()
  }
})

test('a standby that works meanwhile is in no deadlock', async () => {
  const leader = localOwner()
  const standby = startChild('remote', database.connectionString)
  after(() => standby.kill())
  assert.equal(await standby.next(), 'ready')
  await take(leader, 'leader')
  // One owner waits for the leader's lock, and then works under another lock, for which the leader waits.
  standby.send({ name: 'leader', method: 'lock' })
  await database.waiter('leader')
  assert.deepEqual(await standby.ask({ name: 'job', method: 'lock' }), { value: 'function' })
  const job = leader.ask({ name: 'job', method: 'lock' })
  const still = Symbol('still waiting')
  const leads = standby.next().catch(() => 'killed')
  assert.equal(await Promise.race([job, leads, new Promise((resolve) => setTimeout(resolve, 3000, still))]), still)
  standby.kill()
  assert.equal(await leads, 'killed')
  assert.deepEqual(await job, { value: 'function' })
  await leader.end()
})

test('owners that take their locks in one order never deadlock, however they wait', async () => {
  const names = Array.from({ length: 12 }, (_, index) => `ordered ${index}`)
  const crowds = await Promise.all(
    Array.from({ length: 2 }, async () => {
      const child = startChild('ordered', database.connectionString, 10, 50, names.join(','))
      after(() => child.kill())
      return child
    }),
  )
  // A lock that is held for long makes their waits old enough to be looked at.
  for (const name of ['ordered 11', 'ordered 6']) await sqlLock(database.sql, name)
  await until(async () => (await database.lockCount()) > 20, 'all wait')
  await new Promise((resolve) => setTimeout(resolve, 2500))
  for (const name of ['ordered 11', 'ordered 6']) await sqlUnlock(database.sql, name)
  for (const crowd of crowds) assert.deepEqual(await crowd.next(), { done: 500, failed: [] })
  await until(async () => (await database.lockCount()) === 0, 'nothing is left on the server')
})

test('an owner that waits to make several shared locks exclusive is in no deadlock with itself', async () => {
  const createMutex = localOwner()
  const names = ['several 1', 'several 2', 'several 3']
  for (const name of names) {
    await createMutex.ask({ name, method: 'lockShared' })
    await sqlLock(database.sql, name, '_shared')
  }
  const still = Symbol('still waiting')
  const upgrades = names.map((name) => createMutex.ask({ name, method: 'lock' }).catch(({ code }) => code))
  // Long enough for a deadlock to be looked for, found and confirmed.
  assert.equal(await Promise.race([...upgrades, new Promise((resolve) => setTimeout(resolve, 3000, still))]), still)
  for (const name of names) await sqlUnlock(database.sql, name, '_shared')
  for (const upgrade of upgrades) assert.deepEqual(await upgrade, { value: 'function' })
  await createMutex.end()
})
