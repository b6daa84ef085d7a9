// A session that holds says in the database what it holds, for whoever may read `pg_stat_activity`; and nothing that a name has in
// it does more than that.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import advisoryLock, { strToKey } from '../index.js'
import contract2 from '../v2.js'
import { commandsOf } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'

const { namesIn } = createRequire(import.meta.url)('../lib/command/held-names.js')
const database = await openDatabase()
let count = 0

/** An owner with a session of its own, and what that session says at the moment. */
function owner(t, { entry = contract2, options, connectionString = database.connectionString } = {}) {
  const applicationName = `names ${++count}`
  const createMutex = entry(connectionString, { applicationName, ...options })
  t.after(() => createMutex.close())
  const said = () => database.value('SELECT string_agg(query, E\'\\n\') FROM pg_stat_activity WHERE application_name = $1', [applicationName])
  const says = (text, limit) => until(async () => (await said())?.includes(text), `it says ${text}`, limit)
  return { createMutex, said, says }
}

for (const [title, entry] of Object.entries({ 'contract 1': advisoryLock, 'contract 2': contract2 })) {
  test(`soon after a lock is taken its name is there to be read: ${title}`, async (t) => {
    const { createMutex, said, says } = owner(t, { entry, options: { heartbeat: 60_000 } })
    const unlock = await createMutex('migrations').lock()
    await says('/* advisory-lock: migrations */ SELECT', 5000)
    const others = [await createMutex('post stats').lockShared(), await createMutex([1, 2]).lock()]
    await says('/* advisory-lock: migrations, post stats, +1 */ SELECT', 5000)
    await unlock()
    for (const one of others) await one()
    assert.ok(!(await said()).includes('advisory-lock:'), 'and gone with the lock')
  })
}

test('it is said again with each sign of life, as others may have looked at the session', async (t) => {
  const { createMutex, said, says } = owner(t, { options: { heartbeat: 100 } })
  const unlock = await createMutex('often').lock()
  await says('often')
  const change = () => database.value(`SELECT query_start::text FROM pg_stat_activity WHERE query LIKE '%often%' AND pid <> pg_backend_pid()`)
  const before = await change()
  await until(async () => (await change()) !== before, 'another sign of life')
  assert.ok((await said()).startsWith('/* advisory-lock: often */ '))
  await unlock()
})

test('a session that is used all the time says it as often as it is asked for signs of life', async (t) => {
  const { createMutex, says } = owner(t, { options: { heartbeat: 100 } })
  const unlock = await createMutex('held in the crowd').lock()
  let isOver = false
  const use = (async () => {
    // Never unused for long enough, and not so busy that nobody could look in between.
    for (; !isOver; await sleep(20)) await createMutex('busy').withLock()
  })()
  await says('held in the crowd')
  isOver = true
  await use
  await unlock()
})

test('a lock that waited on a session of its own', async (t) => {
  const { createMutex, says } = owner(t)
  await sqlLock(database.sql, 'awaited')
  const wait = createMutex('awaited').lock()
  await database.waiter('awaited')
  await sqlUnlock(database.sql, 'awaited')
  const unlock = await wait
  await says('/* advisory-lock: awaited */')
  await unlock()
})

test('several keys, and permits', async (t) => {
  const { createMutex, said, says } = owner(t)
  const unlocks = [await createMutex.all(['one', 'two']).lock(), await createMutex.semaphore('pool', 1).lock()]
  await says('pool#slot 0')
  const names = namesIn(await said())
  for (const expected of [{ name: 'one' }, { name: 'two' }, { name: 'pool', part: 'slot 0' }]) {
    assert.ok(names.some(({ name, part }) => name === expected.name && part === expected.part), expected.name)
  }
  for (const unlock of unlocks) await unlock()
})

const hostile = [
  '*/ SELECT pg_sleep(100) --', '/* nested', '/* /* */', '*/', '/*+ SeqScan(t) */', '-- ', '\n\r\t', 'a\0b', '\u0000', "'; DROP TABLE x; --", "\\'", '$$', '$1',
  'E\'\\x41\'', '"', '%', '%2A', '%zz', 'a, b', ', ', ' ', '  two  spaces  ', '+7', 'a#b', '#slot 0', 'é', '日本', '🔒', '\u202Eright to left', '\uD800', '\x1b[2J', 'pgdog_role: primary', 'shard_id: 1', 'x'.repeat(900),
  '*'.repeat(279), '*'.repeat(290), 'x'.repeat(100_000), '',
]

for (const encoding of ['UTF8', 'LATIN1', 'SQL_ASCII', 'EUC_JP']) {
  test(`hostile names, to a database in ${encoding}, with settings that set traps`, async (t) => {
    const name = `names_${encoding.toLowerCase()}_${process.pid}`
    await database.sql.query(`CREATE DATABASE ${name} ENCODING '${encoding}' TEMPLATE template0 LOCALE 'C'`)
    t.after(() => database.sql.query(`DROP DATABASE ${name} WITH (FORCE)`))
    for (const trap of [`standard_conforming_strings = off`, `backslash_quote = on`, `client_encoding = 'SJIS'`]) {
      if (trap.includes('SJIS') && encoding !== 'EUC_JP' && encoding !== 'UTF8') continue
      await database.sql.query(`ALTER DATABASE ${name} SET ${trap}`)
    }
    const url = new URL(database.connectionString)
    url.pathname = `/${name}`
    for (const one of hostile) {
      const { createMutex, said, says } = owner(t, { connectionString: url.href, options: { heartbeat: 100, maxWaitConnections: 0 } })
      const unlock = await createMutex(one).lock()
      // What cannot be said is not said; what is beside it is.
      const beside = await createMutex('beside').lock()
      await says('beside')
      const query = await said()
      assert.match(query, /^\/\* advisory-lock: [ -~]* \*\/ SELECT pg_catalog\.current_setting\('advisory_lock_native\.session', true\)$/)
      assert.ok(query.length <= 1023)
      // Half of a character has the key of what stands for it.
      const meant = one.replace('\uD800', '\uFFFD')
      assert.deepEqual(strToKey(meant), strToKey(one))
      const fits = one.length < 280
      assert.deepEqual(namesIn(query).map((found) => found.name), fits ? [meant, 'beside'] : ['beside'])
      assert.ok((await unlock.verify()) instanceof Date)
      await unlock()
      await beside()
      await createMutex.close()
    }
  })
}

test('many locks on one session: as many names as there is room for, and how many there are besides', async (t) => {
  const { createMutex, said, says } = owner(t)
  const unlocks = await Promise.all(Array.from({ length: 500 }, (_, number) => createMutex(`one of many ${number}`).lock()))
  await says('one of many 0')
  const query = await said()
  const names = namesIn(query)
  assert.ok(names.length >= 40 && query.length <= 1023, `${names.length} names in ${query.length} characters`)
  assert.match(query, new RegExp(`, \\+${500 - names.length} \\*/ SELECT`))
  for (const unlock of unlocks) await unlock()
})

test('nobody is told where that is not wanted', async (t) => {
  const { createMutex, said } = owner(t, { options: { publishNames: false, heartbeat: 100 } })
  const semaphore = createMutex.semaphore('a secret pool', 1)
  const unlocks = [await createMutex('a secret').lock(), await semaphore.lock(), await createMutex.all(['secret 1', 'secret 2']).lock()]
  const beats = () => database.value(`SELECT max(query_start)::text FROM pg_stat_activity WHERE application_name = 'names ${count}'`)
  for (let beat = 0, last = await beats(); beat < 3; beat++) {
    await until(async () => (await beats()) !== last, 'a sign of life')
    last = await beats()
    assert.ok(!/secret|advisory-lock:/.test(await said()), await said())
  }
  for (const unlock of unlocks) await unlock()
  for (const value of [0, 'false', null, {}]) {
    for (const entry of [advisoryLock, contract2]) {
      assert.throws(() => entry('', { publishNames: value }), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE', message: /options\.publishNames/ })
    }
  }
})

test('withlock says the name; the command line that pgmutex locks by is told to nobody', async () => {
  const { start } = commandsOf(database.connectionString)
  const queries = (program) => database.value(`SELECT string_agg(query, '') FROM pg_stat_activity WHERE application_name LIKE $1`, [`${program} %`])
  const named = start('withlock', ['by name', '--', 'cat'], { input: null })
  await until(async () => (await queries('withlock'))?.includes('/* advisory-lock: by name */'), 'withlock says it')
  named.finish()
  await named.ended
  const chosen = start('pgmutex', ['--name', 'chosen', 'cat'], { input: null })
  await until(async () => (await queries('pgmutex'))?.includes('/* advisory-lock: chosen */'), 'pgmutex says a name')
  chosen.finish()
  await chosen.ended
  await until(async () => (await queries('pgmutex')) === null, 'its session is gone')
  const secret = start('pgmutex', ['sh', '-c', 'cat; : password'], { input: null })
  await until(async () => (await queries('pgmutex'))?.startsWith('SELECT pg_catalog.current_setting'), 'a sign of life', 30_000)
  assert.ok(!/password|advisory-lock:/.test(await queries('pgmutex')))
  secret.finish()
  await secret.ended
})
