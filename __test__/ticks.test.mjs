// What a leader does at given times: by the database's clock, at most once, and never for a time at which it did not lead.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import advisoryLock from '../index.js'
import { ServerClock } from '../lib/server-clock.js'
import { multiplesOf, runAt } from '../lib/ticks.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, until } from './support/database.mjs'
import { next, watch } from './support/election.mjs'
import { fakeTimeLibrary } from './support/program.mjs'

const database = await openDatabase()
const createMutex = advisoryLock(database.connectionString)
after(() => createMutex.close())
const QUICK = { backoff: { min: 20, max: 100 } }
const serverTime = async (sql = database.sql) =>
  Number((await sql.query('SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now')).rows[0].now)

/** Does nothing for so many milliseconds, and lets nobody else. */
const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

/** An election whose leader is this one, under observation. */
function stand(name, lead, from = createMutex) {
  const election = from(name).elect(lead, QUICK)
  return { election, seen: watch(election) }
}

test('each multiple of the interval since the election, not before its time', async () => {
  const runs = []
  const before = await serverTime()
  const { election } = stand('each', ({ every }) =>
    every(50, async (tick) => {
      runs.push({ tick: tick.getTime(), at: await serverTime() })
    }),
  )
  await until(() => runs.length >= 20, 'twenty ticks')
  await election.stop()
  assert.ok(runs[0].tick > before, 'none from before the election')
  for (const { tick, at } of runs) {
    assert.equal(tick % 50, 0)
    assert.ok(at >= tick, `tick ${tick} at ${at}`)
  }
  const ticks = runs.map(({ tick }) => tick)
  assert.deepEqual(ticks, [...new Set(ticks)].toSorted((a, b) => a - b))
})

test('a term lasts as long as its ticks, whether or not lead waits for them', async () => {
  const leads = {
    async 'it returns'({ every }, fn) {
      void every(20, fn)
    },
    'it waits': ({ every }, fn) => every(20, fn),
    async 'it does both'({ every, signal }, fn) {
      const ended = every(20, fn)
      if (!signal.aborted) await once(signal, 'abort')
      assert.equal(await ended, undefined)
    },
  }
  for (const [what, lead] of Object.entries(leads)) {
    let ticks = 0
    let running = false
    const { election, seen } = stand('lasts', (term) =>
      lead(term, async () => {
        ticks++
        running = true
        await sleep(5)
        running = false
      }),
    )
    election.on('error', (error) => assert.fail(error))
    await until(() => ticks >= 5, what)
    await election.stop()
    assert.equal(running, false, 'what runs has ended')
    const last = ticks
    await sleep(60)
    assert.equal(ticks, last, 'no tick comes after the end')
    assert.deepEqual(seen.names(), ['standby', 'elected', 'resigned'], what)
  }
})

test('ticks that come while fn runs are skipped, errors are told, and the next tick comes', async () => {
  const runs = []
  const reason = new Error('on purpose')
  const { election } = stand('skips', (term) =>
    term.every(50, async (tick) => {
      runs.push({ tick: tick.getTime() })
      await sleep(runs.length === 2 ? 220 : 0)
      if (runs.length === 3) throw reason
      runs.at(-1).ended = await serverTime()
    }),
  )
  const told = next(election, 'error')
  await until(() => runs.length >= 6, 'six runs')
  await election.stop()
  assert.equal(await told, reason)
  assert.ok(runs[2].tick - runs[1].tick >= 200, 'four were skipped')
  assert.ok(runs[2].tick > runs[1].ended - 25, 'and not made up for')
  assert.ok(runs[3].tick > runs[2].tick)
})

test('a failing lead ends its ticks, and what runs is waited for', async () => {
  const events = []
  const { election } = stand('fails', async ({ every, signal }) => {
    const running = new Promise((resolve) => {
      void every(10, async () => {
        resolve()
        if (!signal.aborted) await once(signal, 'abort')
        await sleep(50)
        events.push('ended')
      })
    })
    await running
    throw new Error('on purpose')
  })
  election.on('error', ({ message }) => events.push(message))
  election.once('resigned', () => events.push('resigned'))
  await next(election, 'resigned')
  await election.stop()
  assert.deepEqual(events.slice(0, 3), ['on purpose', 'ended', 'resigned'])
})

test('a busy process runs the latest of what has passed, once', async () => {
  const runs = []
  let before
  const { election } = stand('busy', (term) =>
    term.every(50, (tick) => {
      runs.push(tick.getTime())
      // The turn ends first, so that it is not fn that runs.
      if (runs.length === 2) {
        setTimeout(() => {
          before = runs.length
          block(400)
        }, 5)
      }
    }),
  )
  await until(() => runs.length >= before + 3, 'three runs after it')
  await election.stop()
  const passed = runs[before] - runs[before - 1]
  assert.ok(passed >= 350, `the latest: ${passed}`)
  assert.deepEqual(runs, [...new Set(runs)])
})

test('what is due since the election is run even if the leader comes to it late in its first turn', async () => {
  const runs = []
  let called
  const { election } = stand('first turn', ({ every }) => {
    // A tick has passed since the election, and the next one is far.
    block(520 - (Date.now() % 500))
    called = Date.now()
    return every(500, (tick) => {
      runs.push(tick.getTime())
    })
  })
  await until(() => runs.length >= 2, 'two runs')
  await election.stop()
  assert.ok(runs[0] <= called, `${runs[0]} is after ${called}`)
})

test('ticks that pass between the answer of the server and the begin of fn are not lost', async () => {
  // The process stands still while the first answer is on its way, and after that time goes as it should.
  const answers = [10_051, 10_180, 10_201]
  const clocks = [10_180, 10_181, 10_202]
  let now = 10_049
  const over = new AbortController()
  const runs = []
  const term = {
    clock: { now: () => now },
    signal: over.signal,
    isOver: false,
    async verify() {
      now = clocks.shift()
      return answers.shift()
    },
  }
  const fn = (tick) => {
    runs.push(tick.getTime())
    if (runs.length === 3) over.abort()
  }
  await runAt(term, multiplesOf(50), 10_050, fn, (error) => assert.fail(error))
  assert.deepEqual(runs, [10_050, 10_150, 10_200])
})

test('a tick at which the lock was lost is nobody\'s: the busy process that was its leader does not run it', async () => {
  const runs = []
  const { election, seen } = stand('lost', (term) =>
    term.every(1000, (tick) => {
      runs.push(tick.getTime())
    }),
  )
  await until(() => runs.length === 1, 'the first tick')
  const path = fileURLToPath(new URL('children/terminate.cjs', import.meta.url))
  // Until after the next tick this thread does nothing.
  execFileSync(process.execPath, [path, database.connectionString, 'lost', '0'])
  block(runs[0] + 1100 - Date.now())
  await until(() => runs.length === 2, 'the next tick that it runs')
  await election.stop()
  assert.equal(seen.count('lost'), 1)
  assert.ok(runs[1] - runs[0] >= 2000, `it ran the tick at ${runs[1] - runs[0]}`)
})

test('schedule: whatever times are given', async () => {
  const asked = []
  const runs = []
  const { election } = stand('schedule', ({ schedule }) =>
    schedule(
      (from) => {
        assert.ok(from instanceof Date)
        asked.push(from.getTime())
        // On 30 and 70 of each hundred.
        const hundred = Math.floor(from / 100) * 100
        return new Date([hundred + 30, hundred + 70, hundred + 130].find((time) => time > from))
      },
      (tick) => {
        runs.push(tick.getTime())
      },
    ),
  )
  await until(() => runs.length >= 10, 'ten runs')
  await election.stop()
  assert.ok(runs.every((tick) => [30, 70].includes(tick % 100)))
  assert.deepEqual(runs, [...new Set(runs)].toSorted((a, b) => a - b))
  assert.ok(asked.length >= 10)
})

test('two schedules of one term do not know of each other', async () => {
  let finish
  const hanging = new Promise((resolve) => (finish = resolve))
  let [quick, slow] = [0, 0]
  const { election } = stand('two', ({ every }) => {
    void every(20, () => void quick++)
    return every(30, () => (slow++, hanging))
  })
  await until(() => quick > 10, 'the other one hangs')
  assert.equal(slow, 1)
  finish()
  await until(() => slow > 3, 'it goes on')
  await election.stop()
})

test('what cannot be is refused at the call', async () => {
  const wrongType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
  const outOfRange = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }
  const noDate = { name: 'TypeError', code: 'ERR_INVALID_RETURN_VALUE' }
  const reason = new Error('on purpose')
  const fn = () => assert.fail('it was refused')
  const { election } = stand('refused', async ({ every, schedule, signal }) => {
    for (const ms of [undefined, null, '1', 1n, {}]) assert.throws(() => every(ms, fn), { ...wrongType, message: /^ms / })
    for (const ms of [0, -1, 0.5, NaN, Infinity, 2 ** 53]) assert.throws(() => every(ms, fn), { ...outOfRange, message: /^ms / })
    const noFunctions = [undefined, null, 1, {}, Promise.resolve()]
    for (const value of noFunctions) assert.throws(() => every(1, value), { ...wrongType, message: /^fn / })
    const soon = (date) => new Date(date.getTime() + 1000)
    for (const value of noFunctions) assert.throws(() => schedule(soon, value), { ...wrongType, message: /^fn / })
    for (const value of noFunctions) assert.throws(() => schedule(value, fn), { ...wrongType, message: /^next / })
    for (const value of [undefined, null, Date.now() + 1000, 'tomorrow', new Date(NaN), Promise.resolve(new Date())]) {
      assert.throws(() => schedule(() => value, fn), { ...noDate, message: /^next must return a valid Date/ })
    }
    assert.throws(() => schedule((date) => date, fn), outOfRange)
    assert.throws(() => schedule(() => new Date(0), fn), outOfRange)
    assert.throws(() => schedule(() => Promise.reject(reason).catch(() => {}), fn), noDate)
    const throws = () => {
      throw reason
    }
    assert.throws(() => schedule(throws, fn), (error) => error === reason)
    await every(60_000, fn).catch(assert.fail)
    assert.equal(signal.aborted, true)
    assert.equal(await every(1, fn), undefined, 'after the end')
  })
  election.on('error', (error) => assert.fail(error))
  await once(election, 'elected')
  await election.stop()
})

test('a next that breaks later ends the term, is told of once, and kills nothing', async () => {
  const errors = []
  const runs = []
  const { election, seen } = stand('breaks', ({ schedule }) => {
    let asked = 0
    return schedule(
      (date) => (++asked < 3 ? new Date(date.getTime() + 100) : new Date(date.getTime() - 10)),
      (tick) => {
        runs.push(tick.getTime())
      },
    )
  })
  election.on('error', (error) => errors.push(error))
  // A busy machine may be late for all ticks of a term.
  await until(() => seen.count('resigned') >= 2 && runs.length > 0, 'two terms, and a run', 30_000)
  await election.stop()
  const codes = errors.slice(0, seen.count('resigned') - 1).map(({ code }) => code)
  assert.ok(codes.length >= 1 && codes.every((code) => code === 'ERR_OUT_OF_RANGE'), `${codes}`)
  assert.ok(errors.length <= seen.count('elected'), 'once a term')
})

test('the clock of the server, seen from here: never ahead of it, better with a quicker answer, set back with it', () => {
  const clock = new ServerClock()
  const now = performance.now()
  const ahead = () => clock.now() - performance.now()
  clock.set(1_000_000, now - 100, now)
  assert.ok(Math.abs(ahead() - (1_000_000 - now)) < 10, 'as if the answer had taken no time')
  clock.set(1_000_050, now - 60, now - 40)
  assert.ok(Math.abs(ahead() - (1_000_050 - (now - 40))) < 10, 'the narrower one, which is later')
  clock.set(1_000_020, now - 100, now)
  assert.ok(Math.abs(ahead() - (1_000_090 - now)) < 10, 'a slow answer tells nothing new')
  clock.set(900_000, now - 10, now)
  assert.ok(Math.abs(ahead() - (900_000 - now)) < 10, 'set back')
  clock.set(2_000_000, now - 10, now)
  assert.ok(Math.abs(ahead() - (2_000_000 - now)) < 10, 'set forward')
})

test('the server\'s clock is set: ticks follow it, and none comes twice', { skip: process.platform !== 'linux' && 'only Linux has libfaketime' }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-clock-'))
  const file = join(folder, 'clock')
  const setClock = (offset) => writeFile(file, `${offset}\n`)
  await setClock('+0')
  await chmod(folder, 0o755)
  const fake = {
    LD_PRELOAD: fakeTimeLibrary(),
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  }
  Object.assign(process.env, fake)
  const server = await startServer().finally(() => Object.keys(fake).forEach((name) => delete process.env[name]))
  after(async () => {
    await server.stop()
    await rm(folder, { recursive: true })
  })
  const own = await openDatabase(server)
  const from = advisoryLock(own.connectionString)
  after(() => from.close())
  const runs = []
  const { election } = stand(
    'set',
    (term) =>
      term.every(50, async (tick) => {
        runs.push({ tick: tick.getTime(), at: await serverTime(own.sql) })
      }),
    from,
  )
  const more = (count) => {
    const enough = runs.length + count
    return until(() => runs.length >= enough, `${count} more ticks`)
  }
  const setServerClock = async (seconds) => {
    await setClock(`+${seconds}`)
    const isSet = async () => Math.abs((await serverTime(own.sql)) - Date.now() - seconds * 1000) < 400
    await until(isSet, `the server's clock is ${seconds} s ahead`)
  }
  await more(5)
  await setServerClock(600)
  await more(5)
  assert.ok(runs.at(-1).tick - runs[0].tick > 590_000, 'ten minutes later')
  await setServerClock(599)
  await more(5)
  await election.stop()
  const ticks = runs.map(({ tick }) => tick)
  assert.deepEqual(ticks, [...new Set(ticks)].toSorted((a, b) => a - b))
  for (const { tick, at } of runs) assert.ok(at >= tick || at < tick - 500, `tick ${tick} at ${at}`)
})
