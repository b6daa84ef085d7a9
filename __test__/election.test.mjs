// One of many leads: what an election tells, what it promises, and how it ends.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import contract1 from '../index.js'
import { Election } from '../lib/election.js'
import contract2 from '../v2.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { next, untilOver, watch } from './support/election.mjs'
import { runChild } from './support/process.mjs'

const database = await openDatabase()
const QUICK = { backoff: { min: 20, max: 200 } }
const wrongType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
const outOfRange = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }
const unknownOption = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }
const fail = (message) => assert.fail(message)

for (const [contract, advisoryLock] of Object.entries({ 'contract 1': contract1, 'contract 2': contract2 })) {
  const named = (name) => `${name}, ${contract}`
  const testBoth = (name, fn) => test(named(name), (t) => fn(t, advisoryLock(database.connectionString)))

  testBoth('it stands by, is elected, leads, and gives the lock up when it is stopped', async (_, createMutex) => {
    const { elect } = createMutex(named('course'))
    let given
    const election = elect(async (term) => {
      given = term
      await untilOver(term)
    })
    const seen = watch(election)
    assert.equal(election.isLeader, false)
    const [term] = await once(election, 'elected')
    assert.equal(term, given)
    assert.equal((await database.locks(named('course'))).length, 1)
    assert.equal(election.isLeader, true)
    const { stop } = election
    assert.equal(stop(), election.ended)
    assert.equal(election.isLeader, false, 'from the call on')
    assert.equal(term.signal.reason.code, 'ERR_TERM_OVER')
    assert.equal(await election.ended, undefined)
    assert.deepEqual(seen.names(), ['standby', 'elected', 'resigned'])
    assert.equal(await sqlTry(database.sql, named('course')), true)
    assert.equal(stop(), election.ended, 'again')
    await createMutex.close()
  })

  testBoth('two elections of one mutex exclude each other', async (_, createMutex) => {
    const mutex = createMutex(named('two'))
    let inside = 0
    let terms = 0
    const lead = async () => {
      assert.equal(++inside, 1)
      terms++
      await sleep(1)
      inside--
    }
    const elections = [0, 1, 2].map(() => mutex.elect(lead, { backoff: { min: 1, max: 2 } }))
    elections.forEach(watch)
    await until(() => terms >= 60, 'many terms')
    await Promise.all(elections.map((election) => election.stop()))
    assert.equal(await database.lockCount(), 0)
    await createMutex.close()
  })

  testBoth('the holds of the mutex are not those of its election', async (_, createMutex) => {
    const mutex = createMutex(named('apart'))
    const unlock = await mutex.lock()
    const election = mutex.elect(untilOver)
    watch(election)
    await database.noWaiter(named('apart'))
    assert.equal(election.isLeader, false)
    const elected = once(election, 'elected')
    await unlock()
    await elected
    assert.ok(!(await mutex.tryLock()))
    assert.ok(!(await mutex.unlock()), 'there is nothing of ours to give up')
    assert.equal(election.isLeader, true)
    assert.deepEqual(await mutex.tryWithLock(fail), { acquired: false })
    await election.stop()
    assert.deepEqual(await mutex.tryWithLock((signal) => signal.aborted), { acquired: true, value: false })
    await createMutex.close()
  })

  testBoth('closing the owner stops its elections, and waits for their leaders', async (_, createMutex) => {
    let finish
    const winding = new Promise((resolve) => (finish = resolve))
    const election = createMutex(named('closed')).elect(async (term) => {
      await untilOver(term)
      await winding
    })
    const waiting = createMutex(named('closed')).elect(() => fail('the owner is closed'))
    watch(waiting)
    await once(election, 'elected')
    await createMutex(named('another')).lock()
    const closed = createMutex.close()
    assert.equal(election.isLeader, false)
    await until(async () => (await database.locks(named('another'))).length === 0, 'other holds are given up at once')
    assert.equal(await sqlTry(database.sql, named('closed')), false, 'the leader has not ended')
    finish()
    await closed
    assert.equal(await database.lockCount(), 0)
    assert.throws(() => createMutex(named('closed')).elect(untilOver), { code: 'ERR_CLIENT_CLOSED' })
  })

  testBoth('tryWithLock: here, or not at all', async (_, createMutex) => {
    const { tryWithLock, tryWithLockShared } = createMutex(named('try'))
    assert.deepEqual(await tryWithLock(async () => 'value'), { acquired: true, value: 'value' })
    await sqlLock(database.sql, named('try'))
    assert.deepEqual(await tryWithLock(fail), { acquired: false })
    assert.deepEqual(await tryWithLockShared(fail), { acquired: false })
    await sqlUnlock(database.sql, named('try'))
    await sqlLock(database.sql, named('try'), '_shared')
    assert.deepEqual(await tryWithLockShared(() => 1), { acquired: true, value: 1 })
    await sqlUnlock(database.sql, named('try'), '_shared')
    const reason = new Error('on purpose')
    await assert.rejects(tryWithLock(() => Promise.reject(reason)), (error) => error === reason)
    for (const fn of [undefined, null, 1, {}]) await assert.rejects(tryWithLock(fn), { ...wrongType, message: /^fn / })
    assert.equal(await database.lockCount(), 0)
    const lost = assert.rejects(tryWithLock(() => new Promise(() => {})), { code: 'ERR_LOCK_LOST' })
    await until(() => database.terminate(named('try')), 'it is held')
    await lost
    await createMutex.close()
  })

  testBoth('verify: alive, given up, lost', async (_, createMutex) => {
    const mutex = createMutex(named('verify'))
    const unlock = await mutex.lock()
    const { verify } = unlock
    const clock = async () => (await database.value('SELECT clock_timestamp()')).getTime()
    const [before, time, after] = [await clock(), await verify(), await clock()]
    assert.ok(time instanceof Date)
    assert.ok(before - 1 <= time.getTime() && time.getTime() <= after + 1, `${before} ${time.getTime()} ${after}`)
    await Promise.all(Array.from({ length: 100 }, verify))
    await unlock()
    await assert.rejects(verify(), { name: 'AdvisoryLockError', code: 'ERR_LOCK_LOST' })

    const again = await mutex.lock()
    // Asked together with the termination: whatever comes first, nothing but the loss rejects it.
    const outcomes = Promise.allSettled(Array.from({ length: 20 }, async (__, index) => (await sleep(index), again.verify())))
    await database.terminate(named('verify'))
    for (const { reason } of await outcomes) if (reason) assert.equal(reason.code, 'ERR_LOCK_LOST')
    await assert.rejects(again.verify(), ({ code, cause }) => code === 'ERR_LOCK_LOST' && cause.code === '57P01')
    await createMutex.close()
    const closed = advisoryLock(database.connectionString)
    const held = await closed(named('verify')).lock()
    const [asked] = await Promise.allSettled([held.verify(), closed.close()])
    assert.ok(asked.value instanceof Date || asked.reason.code === 'ERR_LOCK_LOST')
    await assert.rejects(held.verify(), { code: 'ERR_LOCK_LOST' })
  })
}

for (const [contract, advisoryLock] of Object.entries({ 'contract 1': contract1, 'contract 2': contract2 })) {
  test(`mutexes of several keys and semaphores have the same, ${contract}`, async () => {
    const createMutex = advisoryLock(database.connectionString)
    const all = createMutex.all(['one', 'two'])
    assert.deepEqual(await all.tryWithLock(() => 1), { acquired: true, value: 1 })
    const unlock = await all.lock()
    assert.ok((await unlock.verify()) instanceof Date)
    await unlock()
    await assert.rejects(unlock.verify(), { code: 'ERR_LOCK_LOST' })
    const elections = [all.elect(untilOver), all.elect(untilOver), createMutex('two').elect(untilOver)]
    elections.forEach(watch)
    await until(() => elections.some(({ isLeader }) => isLeader), 'one leads')
    assert.equal(elections.filter(({ isLeader }) => isLeader).length, 1)
    const elected = Promise.race(elections.map((election) => next(election, 'elected')))
    void elections.find(({ isLeader }) => isLeader).stop()
    const term = await elected
    assert.ok((await term.verify()) instanceof Date)
    const lost = once(term.signal, 'abort')
    assert.ok((await database.terminate('two')) > 0)
    await lost
    await Promise.all(elections.map((election) => election.stop()))

    const semaphore = createMutex.semaphore('permits', 1)
    const permit = await semaphore.lock()
    assert.ok((await permit.verify()) instanceof Date)
    assert.deepEqual(await semaphore.tryWithLock(fail), { acquired: false })
    await permit()
    await assert.rejects(permit.verify(), { code: 'ERR_LOCK_LOST' })
    assert.deepEqual(await semaphore.tryWithLock(() => 2), { acquired: true, value: 2 })
    await createMutex.close()
  })
}

const createMutex = contract1(database.connectionString)

test('verify is asked where the lock is: on the session of a wait, shared, and beside an upgrade', async () => {
  await sqlLock(database.sql, 'home')
  const waiting = createMutex('home').lockShared()
  await database.waiter('home')
  await sqlUnlock(database.sql, 'home')
  const unlock = await waiting
  const [{ pid }] = await database.locks('home')
  await unlock.verify()
  const { rows } = await database.sql.query('SELECT query FROM pg_stat_activity WHERE pid = $1', [pid])
  assert.match(rows[0].query, /clock_timestamp/)
  await sqlLock(database.sql, 'home', '_shared')
  const upgrade = createMutex('home').lock()
  const since = performance.now()
  for (let count = 0; count < 20; count++) await unlock.verify()
  // Each behind a turn of the wait, which lasts for 0.9 s, they would take twice as long.
  assert.ok(performance.now() - since < 9000, 'no wait stands in the way')
  await sqlUnlock(database.sql, 'home', '_shared')
  await (await upgrade)()
  await unlock()
  // By what it told others of its wait, where that has lasted for a second.
  await until(async () => (await database.lockCount()) === 0, 'nothing is left')
})

test('what cannot be is refused at the call', async () => {
  const { elect } = createMutex('refused')
  for (const lead of [undefined, null, 1, 'x', {}, Promise.resolve()]) {
    assert.throws(() => elect(lead), { ...wrongType, message: /^lead must be a function/ })
  }
  const refused = (options, error) => assert.throws(() => elect(untilOver, options), error)
  for (const options of [null, 1, 'x', []]) refused(options, wrongType)
  refused({ bakoff: {} }, { ...unknownOption, message: /bakoff/ })
  refused({ backoff: { least: 1 } }, { ...unknownOption, message: /least/ })
  for (const backoff of [null, 1, []]) refused({ backoff }, { ...wrongType, message: /^options.backoff / })
  for (const [name, where] of [['min', 'backoff'], ['max', 'backoff'], ['settle', '']]) {
    const give = (value) => (where ? { backoff: { [name]: value } } : { [name]: value })
    for (const value of ['1', null, 1n, {}]) refused(give(value), { ...wrongType, message: new RegExp(`${name} must be a number`) })
    for (const value of [NaN, -1, 0.5, Infinity, 2 ** 31]) refused(give(value), outOfRange)
  }
  for (const backoff of [{ min: 0 }, { max: 0 }, { min: 2, max: 1 }]) refused({ backoff }, outOfRange)
  for (const signal of [null, {}, new AbortController()]) refused({ signal }, { ...wrongType, message: /^options.signal/ })
  assert.equal(await database.lockCount(), 0)
  const election = elect(untilOver, { backoff: { min: 60_000 }, settle: 0 })
  const short = elect(untilOver, { backoff: { max: 1 } })
  await Promise.all([election.stop(), short.stop()])
})

test('a signal stops it as stop() does, also one that is aborted before', async () => {
  const controller = new AbortController()
  const { elect } = createMutex('signal')
  const leading = elect(untilOver, { signal: controller.signal })
  await once(leading, 'elected')
  const waiting = elect(() => fail('it is stopped'), { signal: controller.signal })
  const seen = [watch(waiting), watch(elect(() => fail('it is stopped'), { signal: AbortSignal.abort() }))]
  await database.noWaiter('signal')
  controller.abort()
  await Promise.all([leading.ended, waiting.ended])
  assert.deepEqual(seen.map(({ names }) => names()), [['standby'], []])
  assert.equal(await database.lockCount(), 0)
})

test('the next leads only when the lead of who was stopped has ended', async () => {
  const other = contract1(database.connectionString)
  let ended = false
  const first = createMutex('after').elect(async (term) => {
    await untilOver(term)
    await sleep(3000)
    ended = true
  })
  await once(first, 'elected')
  let endedBefore
  const second = other('after').elect(async (term) => {
    endedBefore = ended
    await untilOver(term)
  })
  await database.noWaiter('after')
  await Promise.all([first.stop(), once(second, 'elected')])
  assert.equal(endedBefore, true)
  await other.close()
})

test('a term ends with its lead, and by resign(); the election stands again', async () => {
  let terms = 0
  const { elect } = createMutex('again')
  const election = elect(async (term) => {
    if (++terms < 3) return
    const { resign, signal } = term
    resign()
    assert.equal(signal.reason.code, 'ERR_TERM_OVER')
    assert.equal(election.isLeader, false)
    assert.equal(await sqlTry(database.sql, 'again'), false, 'not before lead has ended')
    throw signal.reason
  }, QUICK)
  election.on('error', fail)
  const seen = watch(election)
  await until(() => seen.count('resigned') === 4, 'four terms')
  const elected = seen.events.filter(({ event }) => event === 'elected').map(({ at }) => at)
  const resigned = seen.events.filter(({ event }) => event === 'resigned').map(({ at }) => at)
  for (let index = 1; index < 4; index++) assert.ok(elected[index] - resigned[index - 1] >= 19, 'after backoff.min')
  await election.stop()
})

test('a lead that throws is told of, does not spin, and kills nothing', async () => {
  const reason = new Error('on purpose')
  const election = createMutex('throws').elect(
    () => {
      throw reason
    },
    { backoff: { min: 10, max: 400 } },
  )
  const errors = []
  election.on('error', (error) => errors.push(error))
  const seen = watch(election)
  await until(() => seen.count('elected') >= 6, 'six terms')
  assert.ok(errors.length >= 5 && errors.every((error) => error === reason))
  const times = seen.events.filter(({ event }) => event === 'elected').map(({ at }) => at)
  assert.ok(times[5] - times[0] >= 50, 'at the shortest')
  await sleep(1000)
  const before = seen.count('elected')
  await sleep(1000)
  assert.ok(seen.count('elected') - before <= 20, `${seen.count('elected') - before} terms in a second`)
  await election.stop()
})

test('an error without a listener is a warning, whatever was thrown', async () => {
  const { elect } = createMutex('warns')
  for (const [thrown, text] of [[new Error('on purpose'), /on purpose/], ['a text', /a text/], [undefined, /undefined/], [Symbol('s'), /s/]]) {
    const warned = once(process, 'warning')
    const election = elect(() => Promise.reject(thrown))
    const [warning] = await warned
    assert.equal(warning.name, 'AdvisoryLockWarning')
    assert.equal(warning.code, 'ADVISORY_LOCK_LEADER_FAILED')
    assert.match(warning.message, /"warns"/)
    assert.match(warning.message, text)
    await election.stop()
  }
})

const notShown = {
  'a throwing inspect': () => ({ [inspect.custom]: () => fail('shown') }),
  'a Symbol for a message': () => Object.assign(new Error('x'), { message: Symbol('message') }),
  'a message without a text': () => Object.assign(new Error('x'), { message: Object.create(null) }),
  'a throwing message': () => Object.defineProperty(new Error('x'), 'message', { get: () => fail('read') }),
  'a throwing stack': () => Object.defineProperty(new Error('x'), 'stack', { get: () => fail('read') }),
  'a throwing name and code': () => Object.defineProperties(new Error('x'), { name: { get: () => fail('read') }, code: { get: () => fail('read') } }),
  'a revoked proxy': () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  },
}

for (const [title, make] of Object.entries(notShown)) {
  test(`what cannot be shown is warned about all the same: ${title}`, async () => {
    let terms = 0
    const lead = (term) => {
      if (++terms === 1) throw make()
      if (terms === 2) return untilOver(term).then(() => Promise.reject(make()))
      let ticks = 0
      return term.every(5, () => {
        if (++ticks === 3) term.resign()
        throw make()
      })
    }
    const election = createMutex('not shown').elect(lead, { backoff: { min: 1, max: 1 } })
    const isWarned = async () => {
      const [warning] = await once(process, 'warning')
      assert.equal(warning.code, 'ADVISORY_LOCK_LEADER_FAILED')
      assert.match(warning.message, /^the leader of "not shown" has failed: /)
    }
    await isWarned()
    // The second fails at its end, when its term is over: that is news too, as it says nothing of the end.
    const second = once(election, 'elected')
    const warned = isWarned()
    const [term] = await second
    term.resign()
    await warned
    const third = once(election, 'elected')
    await isWarned()
    await third
    await until(() => terms === 4, 'three ticks were run in the third term')
    await election.stop()
    assert.equal(await database.lockCount(), 0)
  })
}

test('what fails in elect begins nothing', async () => {
  const own = contract1(database.connectionString)
  const broken = [
    { aborted: false },
    { aborted: false, addEventListener: () => fail('called') },
    Object.defineProperty({}, 'aborted', { get: () => fail('read') }),
  ]
  for (const signal of broken) assert.throws(() => own('ghost').elect(() => fail('it leads'), { signal }))
  assert.deepEqual(own.stats(), { held: 0, waiting: 0, sessions: 0, oldestWait: 0 })
  // A ghost would hold the lock, or stand by for it.
  await own('ghost').withLock(async () => assert.equal((await own('ghost').holders()).length, 1))
  await own.close()
  const { status, stdout, stderr } = await runChild('elect-fails', [database.connectionString])
  assert.deepEqual([status, stdout], [0, 'TypeError\n'], stderr)
})

test('verify: of a term that is over', async () => {
  for (const end of [(term) => term.resign(), (_, election) => void election.stop()]) {
    let codes
    const election = createMutex('verify a term').elect(async (term) => {
      assert.ok((await term.verify()) instanceof Date)
      const codeOf = () => term.verify().then(() => 'verified', ({ code }) => code)
      const underWay = codeOf()
      end(term, election)
      codes = await Promise.all([underWay, codeOf()])
      void election.stop()
    })
    watch(election)
    await election.ended
    assert.deepEqual(codes, ['ERR_TERM_OVER', 'ERR_TERM_OVER'])
  }
})

test('a leader that waits for itself is told so, by name', async () => {
  const own = contract1(database.connectionString)
  let released
  const election = own('waits for itself').elect(() => Promise.race([own.close(), new Promise((resolve) => (released = resolve))]))
  const [warning] = await once(process, 'warning')
  assert.equal(warning.code, 'ADVISORY_LOCK_LEADER_GOES_ON')
  assert.match(warning.message, /"waits for itself".*`stop\(\)` and `close\(\)` wait/)
  released()
  await election.ended
})

test('what only says that the term is over is no error', async () => {
  const { elect } = createMutex('over')
  const leads = [
    ({ signal }) => sleep(60_000, undefined, { signal }),
    ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    ({ signal, verify }) => once(signal, 'abort').then(verify),
  ]
  for (const lead of leads) {
    for (const end of ['stop', 'terminate']) {
      const election = elect(lead, QUICK)
      election.on('error', fail)
      watch(election)
      await once(election, 'elected')
      if (end === 'terminate') {
        const lost = next(election, 'lost')
        await database.terminate('over')
        assert.equal((await lost).code, 'ERR_LOCK_LOST')
      }
      await election.stop()
    }
  }
  // But an error is one, at whatever time.
  const reason = new Error('on purpose')
  const election = elect(({ signal }) => once(signal, 'abort').then(() => Promise.reject(reason)))
  const told = next(election, 'error')
  await once(election, 'elected')
  await election.stop()
  assert.equal(await told, reason)
})

test('settle: nobody leads before', async () => {
  const election = createMutex('settle').elect(untilOver, { settle: 2000 })
  const seen = watch(election)
  await until(async () => (await database.locks('settle')).length === 1, 'the lock is held')
  assert.equal(election.isLeader, false)
  const lost = next(election, 'standby')
  await database.terminate('settle')
  assert.equal((await lost).code, 'ERR_LOCK_LOST')
  const elected = once(election, 'elected')
  const lostAt = performance.now()
  await elected
  assert.ok(performance.now() - lostAt >= 1980)
  await election.stop()
  assert.deepEqual(seen.names(), ['standby', 'standby', 'elected', 'resigned'])

  const stopped = createMutex('settle').elect(() => fail('it was stopped'), { settle: 60_000 })
  await until(async () => (await database.locks('settle')).length === 1, 'the lock is held')
  await stopped.stop()
  assert.equal(await database.lockCount(), 0)
})

test('listeners that throw, or call back, do not break the course', async () => {
  const uncaught = []
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => uncaught.push(error.message))
  const election = createMutex('listeners').elect(() => fail('a listener has resigned'), QUICK)
  election.once('standby', () => {
    throw new Error('standby')
  })
  election.once('elected', (term) => {
    term.resign()
    throw new Error('elected')
  })
  election.once('resigned', () => {
    void election.stop()
    throw new Error('resigned')
  })
  await election.ended
  await sleep(0)
  process.removeAllListeners('uncaughtException')
  for (const listener of listeners) process.on('uncaughtException', listener)
  assert.deepEqual(uncaught, ['standby', 'elected', 'resigned'])
  assert.equal(await database.lockCount(), 0)
})

test('a loss that comes with the last answer before the election: nobody is elected', async () => {
  let rounds = 0
  const takeHold = async () => {
    const hold = {
      look() {},
      release: async () => true,
      async verify() {
        if (++rounds === 2) void election.stop()
        // Told in the same moment, and before anybody who awaits the answer runs on.
        hold.error = new Error('lost')
        hold.whileHeld()
        return Date.now()
      },
    }
    return hold
  }
  const election = new Election({ takeHold, owner: { close: async () => {} } }, 'x', fail, QUICK)
  const seen = watch(election)
  await election.ended
  assert.deepEqual(seen.names(), ['standby', 'standby'])
})

test('await using stops it', async () => {
  const election = createMutex('disposed').elect(untilOver)
  await once(election, 'elected')
  await election[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]()
  assert.equal(await database.lockCount(), 0)
})

test('an election keeps its process alive until it is stopped', async () => {
  for (const contract of ['index', 'v2']) {
    const { status, stdout } = await runChild('elected', [database.connectionString, contract])
    assert.deepEqual([status, stdout.trim().split('\n')], [0, ['leads', 'stopped']])
  }
})

test('no listener and no timer is left of many elections', async () => {
  const { signal } = new AbortController()
  let added = 0
  const { addEventListener } = signal
  signal.addEventListener = function (...parameters) {
    added++
    return addEventListener.apply(this, parameters)
  }
  for (let index = 0; index < 20; index++) {
    const election = createMutex('many').elect(untilOver, { signal })
    await once(election, 'elected')
    await election.stop()
  }
  assert.equal(added, 20)
  await createMutex.close()
  await until(async () => (await database.connectionCount()) === 0, 'nobody is left')
  assert.deepEqual(process.getActiveResourcesInfo().filter((name) => name === 'Timeout'), [])
})
