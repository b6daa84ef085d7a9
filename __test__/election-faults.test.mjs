// Whatever fails, while standing by, at the moment of the grant or while leading: an election stands again, and nobody leads by a
// lock that is gone.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { next, untilOver, watch } from './support/election.mjs'
import { startMountedChild } from './support/mount.mjs'
import { startProxy } from './support/proxy.mjs'

const server = await startServer()
after(() => server.stop())
const database = await openDatabase(server)
const QUICK = { backoff: { min: 20, max: 200 } }

/** A role of the test's own, which may be kept out. */
async function createCandidate(name) {
  await database.sql.query(`CREATE ROLE ${name} LOGIN PASSWORD 'right'`)
  const url = new URL(database.connectionString)
  Object.assign(url, { username: name, password: 'right' })
  const change = (what) => database.sql.query(`ALTER ROLE ${name} ${what}`)
  return { connectionString: url.href, change }
}

/** Ends every session with this application name, all at once, as a wait goes on by any that is left; and waits until they have ended. */
async function terminateAll(applicationName) {
  const { rows } = await database.sql.query(
    'SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1',
    [applicationName],
  )
  const pids = rows.map(({ pid }) => pid)
  const left = () => database.value('SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)', [pids])
  await until(async () => Number(await left()) === 0, 'they have ended')
  return pids.length
}

const CANDIDATE = 'candidate'

/** An election by a mutex of its own, under observation. Its leader checks that the lock is held by whoever believes so. */
function stand(connectionString, name, { lead = untilOver, applicationName = CANDIDATE } = {}) {
  const createMutex = advisoryLock(connectionString, { applicationName })
  after(() => createMutex.close())
  const election = createMutex(name).elect(lead, QUICK)
  election.on('error', (error) => assert.fail(error))
  return { createMutex, election, seen: watch(election) }
}

/**
 * What may befall candidates: how it begins, with which code they are told of it, and how it ends. Without codes one that stands by
 * is told of nothing: it goes on by another connection.
 */
const faults = {
  'its session is terminated': {
    begin: () => terminateAll(CANDIDATE),
    end: () => {},
  },
  'the login is refused': {
    async begin({ change }) {
      await change("PASSWORD 'another'")
      await terminateAll(CANDIDATE)
    },
    codes: ['28P01'],
    end: ({ change }) => change("PASSWORD 'right'"),
  },
  'there is no room': {
    async begin({ change }) {
      await change('CONNECTION LIMIT 0')
      await terminateAll(CANDIDATE)
    },
    codes: ['53300'],
    end: ({ change }) => change('CONNECTION LIMIT -1'),
  },
  'the link is cut': {
    begin: ({ proxy }) => proxy.cut(),
    end: () => {},
  },
  'nobody listens': {
    async begin({ proxy }) {
      proxy.refuse()
      proxy.cut()
    },
    codes: ['ECONNREFUSED', 'ECONNRESET'],
    end: ({ proxy }) => proxy.admit(),
  },
}

let roles = 0
async function prepare(t) {
  const candidate = await createCandidate(`candidate_${++roles}`)
  const proxy = await startProxy(candidate.connectionString)
  t.after(proxy.close)
  return { ...candidate, proxy, connectionString: proxy.connectionString }
}

for (const [what, { begin, codes, end }] of Object.entries(faults)) {
  test(`${what}: while it stands by`, async (t) => {
    const place = await prepare(t)
    await sqlLock(database.sql, what)
    const { createMutex, election, seen } = stand(place.connectionString, what)
    await database.waiter(what)
    const [{ pid }] = await database.locks(what)
    await begin(place)
    if (codes) await until(() => seen.codes('standby').some((code) => codes.includes(code)), `it is told: ${codes}`)
    await end(place)
    await until(async () => (await database.locks(what)).some((lock) => lock.pid !== pid && !lock.granted), 'it waits again')
    if (!codes) assert.deepEqual(seen.codes('standby').filter(Boolean), [])
    assert.equal(seen.count('elected'), 0)
    // It may be told before the answer to whoever gave the lock up is read.
    const elected = once(election, 'elected')
    await sqlUnlock(database.sql, what)
    await elected
    await createMutex.close()
    assert.deepEqual([...new Set(seen.names())], ['standby', 'elected', 'resigned'])
  })

  test(`${what}: while it leads`, async (t) => {
    const place = await prepare(t)
    const { createMutex, election, seen } = stand(place.connectionString, what)
    const [term] = await once(election, 'elected')
    const lost = next(election, 'lost')
    await begin(place)
    assert.equal((await lost).code, 'ERR_LOCK_LOST')
    assert.equal(term.signal.reason, await lost)
    await until(() => seen.count('standby') >= 2, 'it stands again')
    await end(place)
    await until(() => seen.count('elected') === 2, 'it leads again')
    await createMutex.close()
    assert.equal(seen.count('lost') + seen.count('resigned'), 2)
  })

  test(`${what}: at the moment of the grant`, async (t) => {
    const place = await prepare(t)
    for (let round = 0; round < 4; round++) {
      const name = `${what} ${round}`
      await sqlLock(database.sql, name)
      let gone = false
      const wrong = []
      const lead = async (term) => {
        const wasGone = gone
        // Of a term that began after the session was gone nothing can be verified.
        await term.verify().catch((error) => wasGone && error.code !== 'ERR_TERM_OVER' && wrong.push(error))
        await untilOver(term)
      }
      const { createMutex, election, seen } = stand(place.connectionString, name, { lead })
      await database.waiter(name)
      // As one packet or the other way round: both orders occur, and both at once.
      const both = [() => sqlUnlock(database.sql, name), () => begin(place)]
      await Promise.all((round % 2 ? both : both.toReversed()).map((each) => each()))
      gone = true
      await end(place)
      await until(() => election.isLeader, 'it leads in the end')
      gone = false
      await createMutex.close()
      assert.deepEqual(wrong, [])
      assert.equal(seen.count('lost') + seen.count('resigned'), seen.count('elected'))
    }
  })
}

for (const how of ['fast', 'immediate']) {
  test(`the server is stopped (${how}) and started again: leader and standby stand again, and one of them leads`, async () => {
    const own = await openDatabase(server)
    // Of two names they have nothing in common, as two processes.
    const [one, two] = ['one', 'two'].map((applicationName) => stand(own.connectionString, 'restart', { applicationName }))
    await until(() => one.election.isLeader || two.election.isLeader, 'one leads')
    const leader = one.election.isLeader ? one : two
    await own.waiter('restart')
    await server.halt(how)
    await until(() => leader.seen.count('lost') === 1, 'the leader is told')
    await until(() => [one, two].every(({ seen }) => seen.codes('standby').filter(Boolean).length >= 2), 'both have tried again')
    await server.resume()
    await until(() => one.election.isLeader !== two.election.isLeader, 'one leads again')
    await Promise.all([one.createMutex.close(), two.createMutex.close()])
    await database.open()
  })
}

test('the lock is granted and lost while the thread is busy: it does not lead by it', async () => {
  await sqlLock(database.sql, 'busy')
  const { createMutex, election, seen } = stand(database.connectionString, 'busy')
  await database.waiter('busy')
  const pid = await database.value('SELECT pg_backend_pid()')
  // This thread does nothing else meanwhile: the holder goes, the lock is granted, and its session goes as well.
  execFileSync(process.execPath, [
    fileURLToPath(new URL('children/terminate.cjs', import.meta.url)),
    database.connectionString,
    'busy',
    String(pid),
  ])
  assert.deepEqual(seen.names(), ['standby'])
  await once(election, 'elected')
  assert.deepEqual(seen.names(), ['standby', 'standby', 'elected'])
  assert.equal(seen.codes('standby')[1], 'ERR_LOCK_LOST')
  await createMutex.close()
  await database.open()
})

test('the lock is lost while the thread is busy: whoever asks when it goes on is told so', async () => {
  const { createMutex, election, seen } = stand(database.connectionString, 'asked')
  const [term] = await once(election, 'elected')
  const { signal } = term
  execFileSync(process.execPath, [fileURLToPath(new URL('children/terminate.cjs', import.meta.url)), database.connectionString, 'asked', '0'])
  // In the same turn.
  assert.equal(election.isLeader, false)
  assert.equal(signal.aborted, true)
  assert.equal(signal.reason.code, 'ERR_LOCK_LOST')
  assert.deepEqual(seen.names(), ['standby', 'elected', 'lost'])
  await until(() => election.isLeader, 'it leads again')
  await createMutex.close()
})

test('a deadlock on the server: whoever is refused for it stands again', async (t) => {
  const candidate = await createCandidate('deadlocked')
  t.after(() => database.sql.query('DROP TABLE indexed; GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC'))
  await database.sql.query('CREATE TABLE indexed AS SELECT 1 AS n')
  // Without blocks its turns are longer than this, so that of the two in the cycle it is the candidate that notices.
  await database.sql.query('REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC')
  await database.sql.query("ALTER ROLE deadlocked SET deadlock_timeout = '300ms'")
  const other = await database.client()
  await other.query("SET deadlock_timeout = '60s'")
  await sqlLock(other, 'cycle')
  const { createMutex, election, seen } = stand(candidate.connectionString, 'cycle')
  let built = 0
  await until(async () => {
    // It waits for every snapshot, the one of a wait for its own lock among them.
    await other.query(`CREATE INDEX CONCURRENTLY built_${built++} ON indexed (n)`)
    return seen.codes('standby').includes('40P01')
  }, 'it is refused', 60_000)
  const elected = once(election, 'elected')
  await sqlUnlock(other, 'cycle')
  await elected
  await createMutex.close()
})

test('a leader who ignores its signal keeps this process out, and is named once', async (t) => {
  const proxy = await startProxy(database.connectionString)
  t.after(proxy.close)
  let inside = 0
  let finish
  const lead = async (term) => {
    assert.equal(++inside, 1, 'never two inside')
    if (finish) await untilOver(term)
    else await new Promise((resolve) => (finish = resolve))
    inside--
  }
  const { createMutex, election, seen } = stand(proxy.connectionString, 'ignores', { lead })
  await once(election, 'elected')
  const warned = once(process, 'warning')
  const lost = next(election, 'lost')
  proxy.cut()
  await lost
  assert.equal(election.isLeader, false)
  // Others lead meanwhile.
  const other = stand(database.connectionString, 'ignores')
  await once(other.election, 'elected')
  const [warning] = await warned
  assert.equal(warning.code, 'ADVISORY_LOCK_LEADER_GOES_ON')
  assert.match(warning.message, /"ignores"/)
  await other.createMutex.close()
  let warnings = 0
  process.on('warning', () => warnings++)
  await assert.rejects(once(election, 'elected', { signal: AbortSignal.timeout(1000) }), { name: 'AbortError' })
  assert.deepEqual(seen.names(), ['standby', 'elected', 'lost'], 'it does not even stand by')
  assert.equal(inside, 1)
  finish()
  await once(election, 'elected')
  assert.equal(inside, 1)
  await createMutex.close()
  assert.equal(warnings, 0)
})

test('what a leader is given cannot be made: the lock is given back, the failure told, and it stands again', async (t) => {
  const { AbortController } = globalThis
  const restore = () => (globalThis.AbortController = AbortController)
  t.after(restore)
  const { createMutex, election } = stand(database.connectionString, 'unmade')
  const failures = []
  election.on('standby', (error) => error && failures.push(error.message))
  globalThis.AbortController = class {
    constructor() {
      throw new Error('on purpose')
    }
  }
  await until(() => failures.length > 1, 'it has failed, and again')
  restore()
  await once(election, 'elected')
  assert.deepEqual(new Set(failures), new Set(['on purpose']))
  await createMutex.close()
  assert.deepEqual(await database.locks('unmade'), [])
})

test('no name is found for the server, and then one is', { skip: process.platform !== 'linux' && 'only Linux has mounts of a process' }, async (t) => {
  const url = new URL(database.connectionString)
  url.hostname = 'database.invalid'
  const child = await startMountedChild(t, '/etc/hosts', 'candidate', url.href, 'dns')
  const failed = await child.event('standby', ({ code }) => code !== undefined)
  assert.equal(failed.code, 'ENOTFOUND')
  await child.write('127.0.0.1 database.invalid\n')
  await child.event('elected')
  await child.write('')
  await terminateAll('advisory-lock-native')
  await child.event('lost')
  await child.event('standby', ({ code }) => code === 'ENOTFOUND')
  await child.write('127.0.0.1 database.invalid\n')
  await child.event('elected')
})
