// Servers that were in their right mind when they granted a lock, and are not any more: the holder is told, memory stays flat,
// others are served, and the next call connects.

import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import pg from 'pg'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { openDatabase, until } from './support/database.mjs'
import { startListener } from './support/listener.mjs'

const database = await openDatabase()
const target = new URL(database.connectionString)

const message = (type, body) => {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
const claim = (type, length) => {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(length, 1)
  return head
}
const text = (...fields) => Buffer.from(`${fields.map((field) => `${field}\0`).join('')}\0`)
const notice = message('N', text('SNOTICE', 'VNOTICE', 'C00000', `M${'hear, hear '.repeat(90)}`))
const megabyteOfNotices = Buffer.concat(Array.from({ length: 1050 }, () => notice))

/** Writes it again and again, as fast as it is read. */
const withoutEnd = (bytes) => (socket) => {
  const write = () => {
    while (!socket.destroyed && socket.write(bytes));
  }
  socket.on('drain', write)
  write()
}
const row = message('D', Buffer.from([0, 1, 0, 0, 0, 4, 0, 0, 0, 1]))

/** What the server says once the lock is held. With `inAnswer`, instead of its next answer. */
const madness = {
  'notices without end': { say: withoutEnd(megabyteOfNotices) },
  'notices without end, instead of an answer': { say: withoutEnd(megabyteOfNotices), inAnswer: true },
  'changed settings without end': { say: withoutEnd(Buffer.concat(Array.from({ length: 1000 }, () => message('S', text('TimeZone', 'UTC'))))) },
  'rows without end, instead of an answer': {
    say: (socket) => {
      socket.write(Buffer.concat([message('1', Buffer.alloc(0)), message('2', Buffer.alloc(0))]))
      withoutEnd(Buffer.concat(Array.from({ length: 10_000 }, () => row)))(socket)
    },
    inAnswer: true,
  },
  'that a statement is closed without end, instead of an answer': {
    say: withoutEnd(Buffer.concat(Array.from({ length: 10_000 }, () => message('3', Buffer.alloc(0))))),
    inAnswer: true,
  },
  'that a statement is closed twice': { say: (socket) => socket.write(Buffer.concat(Array(2).fill(message('3', Buffer.alloc(0))))), inAnswer: true },
  'an error of 50 MB': { say: (socket) => socket.write(message('E', text('SERROR', 'VERROR', 'C53200', `M${'x'.repeat(50e6)}`))), inAnswer: true },
  'an error of 50 MB that nobody asked for': { say: (socket) => socket.write(message('E', text('SFATAL', 'VFATAL', 'C57P01', `M${'x'.repeat(50e6)}`))) },
  'the claim of a message of 2 GiB': { say: (socket) => socket.write(claim('D', 0x7fffffff)), inAnswer: true },
  'the claim of a notice of 2 GiB': { say: (socket) => socket.write(claim('N', 0x7fffffff)) },
  'the claim of a message of less than nothing': { say: (socket) => socket.write(claim('D', -1)), inAnswer: true },
  'the end of an answer first': { say: (socket) => socket.write(message('Z', Buffer.from('I'))), inAnswer: true },
  'an answer to nothing': { say: (socket) => socket.write(Buffer.concat([message('2', Buffer.alloc(0)), row])) },
  'an answer in the wrong order': {
    say: (socket) => socket.write(Buffer.concat([row, message('2', Buffer.alloc(0)), message('Z', Buffer.from('I'))])),
    inAnswer: true,
  },
}

/** A way to the real server whose first connection can be made mad. */
async function startMad() {
  let first
  let isMuted = false
  let connections = 0
  const asks = new EventEmitter()
  const { port } = await startListener((near, keep) => {
    const far = keep(connect(Number(target.port || 5432), target.hostname))
    near.pipe(far)
    near.on('close', () => far.destroy())
    if (connections++ > 0) return far.pipe(near)
    first = near
    near.on('data', (asked) => asks.emit('ask', asked))
    far.on('data', (data) => isMuted || near.write(data))
    far.on('close', () => near.destroy())
  })
  const url = new URL(target)
  url.host = `127.0.0.1:${port}`
  return {
    connectionString: url.href,
    /** From now on the server's answers do not come through. */
    mute: () => (isMuted = true),
    say: (behaviour) => behaviour(first),
    /** Once the client has asked something more. */
    sayToNext: (behaviour) => asks.once('ask', (asked) => behaviour(first, asked)),
  }
}

const megabytes = () => process.memoryUsage().rss / 1e6

for (const [title, { say, inAnswer }] of Object.entries(madness)) {
  test(title, async () => {
    const mad = await startMad()
    const createMutex = advisoryLock(mad.connectionString, { heartbeat: 500 })
    const unlock = await createMutex('mad').lock()
    const lost = once(unlock.signal, 'abort')
    const before = megabytes()
    mad.mute()
    const call = inAnswer ? createMutex('another').tryLock() : undefined
    const refused = call && assert.rejects(call, { name: 'AdvisoryLockError' })
    mad.say(say)
    // Sessions to other servers do not starve.
    const sane = advisoryLock(database.connectionString)
    assert.equal(await sane('sane').withLock(() => 'works'), 'works')
    await lost
    assert.equal(unlock.signal.reason.code, 'ERR_LOCK_LOST')
    assert.match(unlock.signal.reason.cause.code, /^(08P01|57P01)$/)
    assert.ok(unlock.signal.reason.message.length < 20_000, 'the error is no longer than it need be')
    await refused
    await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
    assert.equal(await createMutex('mad').withLock(() => 'works'), 'works')
    await Promise.all([createMutex.close(), sane.close()])
    assert.ok(megabytes() - before < 500, `${megabytes() - before} MB more than before`)
    await until(async () => (await database.locks('mad')).length === 0, 'nothing is left')
  })
}

/** Begins an answer to what was asked, and goes on with a row now and then. */
const drip = (socket, asked) => {
  const hasText = asked.toString('latin1', 0, 1) !== 'B'
  socket.write(Buffer.concat((hasText ? ['1', '2'] : ['2']).map((type) => message(type, Buffer.alloc(0)))))
  const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write(row)), 150)
}
const impatient = { heartbeat: 1000, answerTimeout: 1000 }

test('an answer that comes in drops without end does not keep a lock', { timeout: 30_000 }, async (t) => {
  const mad = await startMad()
  const createMutex = advisoryLock(mad.connectionString, impatient)
  const unlock = await createMutex('dripping').lock()
  const begin = performance.now()
  mad.mute()
  mad.sayToNext(drip)
  await once(unlock.signal, 'abort')
  const took = performance.now() - begin
  t.diagnostic(`the holder is told after ${Math.round(took)} ms`)
  assert.ok(took < impatient.heartbeat + impatient.answerTimeout + 500, 'as if nothing came')
  assert.equal(unlock.signal.reason.cause.code, 'ETIMEDOUT')
  assert.equal(await createMutex('dripping').withLock(() => 'works'), 'works')
  await createMutex.close()
})

for (const [call, ask] of Object.entries({
  'tryLock()': (mutex) => mutex.tryLock(),
  'holders()': (mutex) => mutex.holders(),
  'lock() with a timeout': (mutex) => mutex.lock({ timeout: 1500 }),
})) {
  test(`an answer that comes in drops without end is given up, and close() does not wait for it: ${call}`, { timeout: 30_000 }, async (t) => {
    for (const closes of [false, true]) {
      const mad = await startMad()
      const createMutex = advisoryLock(mad.connectionString, impatient)
      await createMutex('asked').withLock()
      mad.mute()
      mad.sayToNext(drip)
      const begin = performance.now()
      const settled = ask(createMutex('asked')).then(() => 'answered', ({ code }) => code)
      if (closes) await createMutex.close()
      const outcome = await settled
      const took = performance.now() - begin
      t.diagnostic(`${outcome} after ${Math.round(took)} ms`)
      assert.ok(took < 4000)
      await createMutex.close()
    }
  })
}

test('a long answer over a slow link is waited for, as long as it goes on', async (t) => {
  const server = await startServer({ max_prepared_transactions: 300 })
  t.after(() => server.stop())
  const client = new pg.Client(server.connectionString())
  await client.connect()
  for (let index = 0; index < 300; index++) {
    await client.query('BEGIN; SELECT pg_advisory_xact_lock_shared(1, 2)')
    await client.query(`PREPARE TRANSACTION '${`${index}`.padStart(199, 'x')}'`)
  }
  const { port } = new URL(server.connectionString())
  let isSlow = false
  const { port: slowPort } = await startListener((near, keep) => {
    const far = keep(connect(Number(port), '127.0.0.1'))
    near.pipe(far)
    let queue = Buffer.alloc(0)
    far.on('data', (data) => (queue = Buffer.concat([queue, data])))
    // 30 KB a second.
    const timer = setInterval(() => {
      const count = isSlow ? 1500 : queue.length
      near.write(queue.subarray(0, count))
      queue = queue.subarray(count)
    }, 50)
    near.on('close', () => (clearInterval(timer), far.destroy()))
  })
  const url = new URL(server.connectionString())
  url.port = slowPort
  const createMutex = advisoryLock(url.href, { answerTimeout: 1000 })
  assert.equal((await createMutex([1, 2]).holders()).length, 300)
  isSlow = true
  const begin = performance.now()
  assert.equal((await createMutex([1, 2]).holders()).length, 300)
  const took = performance.now() - begin
  t.diagnostic(`${Math.round(took)} ms`)
  assert.ok(took > 1500, 'longer than the server may be silent')
  await createMutex.close()
  await client.end()
})

test('end() resolves while notices come without end', async () => {
  const mad = await startMad()
  const createMutex = advisoryLock(mad.connectionString)
  await createMutex('ending').lock()
  mad.mute()
  const ended = createMutex.close()
  mad.say(withoutEnd(megabyteOfNotices))
  await ended
})

test('a few notices and changed settings are borne', async () => {
  const mad = await startMad()
  const createMutex = advisoryLock(mad.connectionString, { heartbeat: 100 })
  const unlock = await createMutex('notices').lock()
  for (let count = 0; count < 20; count++) {
    mad.say((socket) => socket.write(Buffer.concat([notice, message('S', text('TimeZone', 'UTC')), notice])))
    assert.equal(await createMutex('other').withLock(() => 'works'), 'works')
  }
  assert.equal(unlock.signal.aborted, false)
  assert.equal(await unlock(), true)
  await createMutex.close()
})
