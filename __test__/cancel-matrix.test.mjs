// A wait is given up at the worst moments: its turn in the server's queue, the request to cancel that, the look at what is held
// after it, and the session itself, each as it may go. Whatever comes together, the call ends at once, and nothing stays locked.

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { startListener } from './support/listener.mjs'

const database = await openDatabase()
const target = new URL(database.connectionString)
/** How long something takes that is slow. */
const SLOW = 300
const IS_CANCEL = Buffer.from([4, 210, 22, 46])
/** What is asked: a turn of waiting, in each of its forms, or a look at what has come of it. */
const TURN = /DO \$turn\$|\0wait(_single)?\0/
const LOOK = /turn_outcome|pg_locks/
const SYNC = 'S'
const READY = 'Z'

/** Takes the messages that are whole out of what has come; each is its type and its bytes. */
function* messages(state, data) {
  state.rest = Buffer.concat([state.rest ?? Buffer.alloc(0), data])
  while (state.rest.length >= 5) {
    const length = state.rest.readUInt32BE(1) + 1
    if (state.rest.length < length) return
    yield [String.fromCharCode(state.rest[0]), state.rest.subarray(0, length)]
    state.rest = state.rest.subarray(length)
  }
}

const cancelled = (() => {
  const fields = Buffer.from('SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0')
  const head = Buffer.alloc(5, 'E')
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields, Buffer.from([0x5a, 0, 0, 0, 5, 0x49])])
})()

/** A way to the server on which things go as `ways` says, once it is armed. */
async function startPitfalls(ways) {
  let isArmed = false
  const sockets = new Set()
  const { port } = await startListener((near, keep) => {
    const far = keep(connect(Number(target.port || 5432), target.hostname))
    sockets.add(near)
    const close = () => {
      near.destroy()
      far.destroy()
    }
    near.on('close', close)
    far.on('close', close)
    const cancel = (data) => {
      const way = isArmed ? ways.cancel : 'ok'
      if (way === 'error') return near.resetAndDestroy()
      if (way === 'never') return
      if (way === 'slow') return void setTimeout(() => far.write(data), SLOW)
      far.write(data)
    }
    // What each request is, in their order; the first answer is that to the start.
    const asked = [undefined]
    const fromClient = {}
    let request = ''
    let isFirst = true
    near.on('data', (data) => {
      if (isFirst && data.length === 16 && data.includes(IS_CANCEL)) return cancel(data)
      // The start has no type.
      const typed = isFirst ? data.subarray(data.readUInt32BE(0)) : data
      isFirst = false
      for (const [type, message] of messages(fromClient, typed)) {
        request += message.toString('latin1')
        if (type !== SYNC) continue
        asked.push(TURN.test(request) ? 'turn' : LOOK.test(request) ? 'look' : undefined)
        request = ''
      }
      far.write(data)
    })
    const fromServer = {}
    let answer = []
    let isCancelled = false
    let passed = Promise.resolve()
    /** Answers pass in their order. */
    const pass = async (stage, bytes) => {
      const way = isArmed ? ways[stage] : undefined
      if (way === 'never') return new Promise(() => {})
      if (way === 'slow') await sleep(SLOW)
      // A look that is cancelled is repeated, and may succeed then.
      const fails = way === 'error' && stage === 'look' && !isCancelled
      isCancelled ||= fails
      // What was taken before is told before.
      const begun = Buffer.concat([...messages({}, bytes)].filter(([type]) => type === '1' || type === '2').map(([, message]) => message))
      near.write(fails ? Buffer.concat([begun, cancelled]) : bytes)
    }
    far.on('data', (data) => {
      for (const [type, message] of messages(fromServer, data)) {
        answer.push(message)
        // The start is a conversation of several messages.
        if (type !== READY && asked[0] === undefined) {
          passed = passed.then(() => near.write(message))
          answer = []
        } else if (type === READY) {
          const [stage, bytes] = [asked.shift(), Buffer.concat(answer)]
          answer = []
          passed = passed.then(() => pass(stage, bytes))
        }
      }
    })
  })
  const url = new URL(target)
  url.host = `127.0.0.1:${port}`
  return {
    connectionString: url.href,
    arm: () => (isArmed = true),
    disarm: () => (isArmed = false),
    cut: () => sockets.forEach((socket) => socket.destroy()),
  }
}

const product = (...lists) => lists.reduce((all, list) => all.flatMap((chosen) => list.map((each) => [...chosen, each])), [[]])
const combinations = product(
  ['granted', 'awaited'],
  ['ok', 'error', 'slow', 'never'],
  ['ok', 'error', 'slow', 'never'],
  ['ok', 'error', 'slow', 'never'],
  ['kept', 'lost'],
)
const reason = new Error('changed my mind')

/** The process that waits for the key of a name. */
async function waiterOf(name, admin) {
  const [high, low] = advisoryLock.strToKey(name)
  const text = `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = $1::int8 & 4294967295
    AND objid = $2::int8 & 4294967295`
  return (await admin.query(text, [high, low])).rows[0]?.pid
}

async function run([state, turn, cancel, look, session], blocker, admin) {
  const name = [state, turn, cancel, look, session].join(' ')
  const pitfalls = await startPitfalls({ turn, cancel, look })
  const createMutex = advisoryLock(pitfalls.connectionString)
  await createMutex(`${name} first`).withLock()
  await sqlLock(blocker, name)
  const controller = new AbortController()
  let isAnswered = false
  const outcome = createMutex(name)
    .lock({ signal: controller.signal })
    .then(
      (unlock) => ({ unlock }),
      (error) => ({ error }),
    )
    .finally(() => (isAnswered = true))
  await until(() => waiterOf(name, admin), `${name}: it waits`)
  pitfalls.arm()
  // The turn fails by itself in the moment of the abort.
  if (turn === 'error') {
    await admin.query('SELECT pg_cancel_backend($1)', [await waiterOf(name, admin)])
  }
  const released = state === 'granted' ? sqlUnlock(blocker, name) : undefined
  controller.abort(reason)
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(isAnswered, `${name}: it ends at once`)
  const { unlock, error } = await outcome
  if (error) assert.equal(error, reason, name)
  const cut = session === 'lost' ? sleep(SLOW / 2).then(pitfalls.cut) : undefined
  if (unlock) await unlock().catch((failure) => assert.equal(failure.code, 'ERR_LOCK_LOST', name))
  await (released ?? sqlUnlock(blocker, name))
  // What was taken for nobody is given back; at the latest with a session that does not answer any more.
  await until(() => sqlTry(admin, name), `${name}: nobody has it`, 20_000)
  await cut
  pitfalls.disarm()
  // A call may still be sent to a session whose end has not been seen yet; it is told, and the next one connects.
  if (session === 'lost') await createMutex(name).withLock().catch(({ code }) => assert.match(code, /^(ECONNRESET|ERR_LOCK_LOST)$/, name))
  assert.equal(await createMutex(name).withLock(() => 'works'), 'works', name)
  await createMutex.close()
  await until(() => sqlTry(admin, name), `${name}: nothing is left`)
}

test(`${combinations.length} ways for a wait to be given up`, { timeout: 170_000 }, async (t) => {
  const left = [...combinations]
  const works = async () => {
    const [blocker, admin] = await Promise.all([database.client(), database.client()])
    for (let next = left.shift(); next; next = left.shift()) await run(next, blocker, admin)
  }
  const begin = performance.now()
  await Promise.all(Array.from({ length: 24 }, works))
  t.diagnostic(`in ${((performance.now() - begin) / 1000).toFixed(0)} s`)
  assert.equal(await database.lockCount(), 0)
})
