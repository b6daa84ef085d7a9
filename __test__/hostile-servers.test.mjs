// Peers that are no PostgreSQL server, or a broken one: every call ends with a code in bounded time, and the next one works.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import advisoryLock from '../index.js'
import { openDatabase, sqlTry, until } from './support/database.mjs'
import { startListener } from './support/listener.mjs'
import { authentication, field, message, ready, zero } from './support/messages.mjs'

const database = await openDatabase()

/** A server whose first connection is `behaviour`'s; the others lead to the real one. */
async function startHostile(behaviour) {
  const target = new URL(database.connectionString)
  let connections = 0
  const { port } = await startListener((socket) => {
    if (connections++ === 0) return behaviour(socket)
    const far = connect(Number(target.port || 5432), target.hostname).on('error', () => {})
    socket.pipe(far).pipe(socket)
  })
  const url = new URL(database.connectionString)
  url.host = `127.0.0.1:${port}`
  return url.href
}

const inAnswer = (...answers) => (socket) => socket.once('data', () => socket.write(Buffer.concat(answers)))
const andClose = (behaviour) => (socket) => {
  behaviour(socket)
  socket.once('data', () => socket.end())
}
const random = Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 7919 + 13) % 251))

const behaviours = {
  'closes at once': (socket) => socket.end(),
  'resets at once': (socket) => socket.resetAndDestroy(),
  'closes in the middle of the start-up': andClose(inAnswer(authentication(0))),
  'closes in the middle of a message': andClose(inAnswer(authentication(0).subarray(0, 6))),
  'never answers': () => {},
  'never comes to an end': inAnswer(authentication(0)),
  'answers a byte': inAnswer(Buffer.from('R')),
  'answers garbage': inAnswer(random),
  'answers as a web server': andClose(inAnswer(Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'))),
  'announces a message of 2 GiB': inAnswer(Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff])),
  'announces a message of less than nothing': inAnswer(Buffer.from([0x52, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
  'asks for an unknown authentication': inAnswer(authentication(4711)),
  'asks for SASL without a mechanism': inAnswer(authentication(10, zero)),
  'asks for the end of a SASL that never began': inAnswer(authentication(12, Buffer.from('v=AAAA'))),
  'answers an error without fields': andClose(inAnswer(message('E', zero))),
  'answers an error that is no text': andClose(inAnswer(message('E', Buffer.from([0x4d, 0xff, 0xfe, 0, 0])))),
  'answers an error of another severity': andClose(
    inAnswer(message('E', Buffer.concat([field('S', 'FATAL'), field('C', '58000'), field('M', 'out of \u001b[31morder'), zero]))),
  ),
  'is ready without a key for cancel requests': andClose(inAnswer(authentication(0), ready)),
  'answers the first query by nothing': inAnswer(authentication(0), ready),
}

for (const [title, behaviour] of Object.entries(behaviours)) {
  test(`a server that ${title}`, async () => {
    const connectionString = await startHostile(behaviour)
    const createMutex = advisoryLock(connectionString, { connectTimeout: 300 })
    const begin = performance.now()
    const error = await createMutex('hostile')
      .lock()
      .then(() => assert.fail('granted'), (reason) => reason)
    assert.ok(performance.now() - begin < 7000, 'in bounded time')
    assert.ok(error instanceof Error && error.name === 'AdvisoryLockError', error)
    assert.match(error.code, /^(E[A-Z_]+|[0-9A-Z]{5})$/)
    assert.doesNotMatch(`${error.message} ${error.stack}`, /correct horse/, 'no password')
    assert.equal(await createMutex('hostile').withLock(() => 'works'), 'works')
    await createMutex.close()
    await until(() => sqlTry(database.sql, 'hostile'), 'nothing is left')
  })
}

/** Lets the client in and says what `next` makes again and again, as fast as it is read. */
const withoutEnd = (next) => (socket) =>
  socket.once('data', () => {
    socket.write(authentication(0))
    const write = () => {
      while (!socket.destroyed && socket.write(next()));
    }
    socket.on('drain', write)
    write()
  })
const many = (make) => Buffer.concat(Array.from({ length: 100 }, make))
const notice = Buffer.concat([field('S', 'NOTICE'), field('C', '00000'), field('M', 'hear '.repeat(4000)), zero])
let names = 0
const setting = () => message('S', Buffer.concat([field('n', names++), field('v', 'x'.repeat(29_000))]))
const key = (length) => message('K', Buffer.alloc(length))

for (const [title, behaviour] of Object.entries({
  'settings without end, each by a name of its own': withoutEnd(() => many(setting)),
  'notices without end': withoutEnd(() => many(() => message('N', notice))),
  'keys without end': withoutEnd(() => many(() => key(8))),
  'the claim of a notice of 2 GiB': inAnswer(authentication(0), Buffer.from([0x4e, 0x7f, 0xff, 0xff, 0xff])),
  'the claim of a notice of less than nothing': inAnswer(authentication(0), Buffer.from([0x4e, 0, 0, 0, 3])),
  'the claim of a failure of 2 GiB': inAnswer(authentication(0), Buffer.from([0x45, 0x7f, 0xff, 0xff, 0xff])),
  'a key of 20,000 bytes': inAnswer(authentication(0), key(20_000), ready),
  'a key of 9 bytes': inAnswer(authentication(0), key(9), ready),
  'half a key': inAnswer(authentication(0), key(4), ready),
  'a key of nothing': inAnswer(authentication(0), key(0), ready),
  'that it is ready, at length': inAnswer(authentication(0), message('Z', Buffer.from('II'))),
  'that it is ready, and not how': inAnswer(authentication(0), message('Z', Buffer.alloc(0))),
  'a row': inAnswer(authentication(0), message('D', Buffer.from([0, 0]))),
  'a row that is none': inAnswer(authentication(0), message('D', Buffer.from([0]))),
  'what nobody knows': inAnswer(authentication(0), message('?', Buffer.alloc(0))),
  'a failure that is none': inAnswer(authentication(0), message('E', Buffer.from('S'))),
})) {
  test(`a server that lets the client in and says ${title}`, async () => {
    const createMutex = advisoryLock(await startHostile(behaviour))
    const before = process.memoryUsage().rss
    const begin = performance.now()
    await assert.rejects(createMutex('outside').lock(), { name: 'AdvisoryLockError', code: '08P01' })
    assert.ok(performance.now() - begin < 5000, 'at once, and not when the time to connect is over')
    assert.ok(process.memoryUsage().rss - before < 200e6, 'nothing of it is kept')
    assert.equal(await createMutex('outside').withLock(() => 'works'), 'works')
    await createMutex.close()
  })
}

test('a server that turns to garbage while a lock is held', async () => {
  const target = new URL(database.connectionString)
  let near
  const connectionString = await startHostile((socket) => {
    near = socket
    socket.pipe(connect(Number(target.port || 5432), target.hostname)).pipe(socket)
  })
  const createMutex = advisoryLock(connectionString)
  const unlock = await createMutex('garbage').lock()
  const lost = once(unlock.signal, 'abort')
  const wait = createMutex('another').lock()
  near.write(random)
  const failed = assert.rejects(wait, (error) => error.name === 'AdvisoryLockError' && typeof error.code === 'string')
  await lost
  assert.equal(unlock.signal.reason.code, 'ERR_LOCK_LOST')
  await failed
  await assert.rejects(unlock(), { code: 'ERR_LOCK_LOST' })
  assert.equal(await createMutex('garbage').withLock(() => 'works'), 'works')
  await createMutex.close()
})
