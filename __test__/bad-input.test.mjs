// What cannot work is refused clearly, harms nobody, and gives no secret away.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import advisoryLock, { strToKey } from '../index.js'
import { openDatabase } from './support/database.mjs'
import { startListener } from './support/listener.mjs'

const database = await openDatabase()
const createMutex = advisoryLock(database.connectionString)
const wrongType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
const outOfRange = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }
const unknownOption = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }
const stillWorks = async () => assert.equal(await createMutex('still works').withLock(() => 1), 1)
const unusable = [undefined, null, 1, true, Symbol('x'), {}, [], () => {}]

test('a connection string that is no string', () => {
  for (const value of [...unusable, 1n]) {
    // What is not given is the empty string, as in the original; an object may say nothing as well.
    if (value === undefined || inspect(value) === '{}') continue
    assert.throws(() => advisoryLock(value), { ...wrongType, message: /^connectionString / })
  }
})

test('a name that is neither string nor key', async () => {
  for (const value of [...unusable, [1], [1, 2, 3], [1, '2'], [1, 2n], ['a', 'b'], new Int32Array(2)]) {
    assert.throws(() => createMutex(value), { ...wrongType, message: /^name/ }, inspect(value))
  }
  for (const half of [2 ** 31, -(2 ** 31) - 1, 0.5, NaN, Infinity, 2 ** 53]) {
    assert.throws(() => createMutex([half, 0]), { ...outOfRange, message: /^name\[0\]/ })
    assert.throws(() => createMutex([0, half]), { ...outOfRange, message: /^name\[1\]/ })
  }
  for (const key of [2n ** 63n, -(2n ** 63n) - 1n, 2n ** 4096n]) {
    assert.throws(() => createMutex(key), { ...outOfRange, message: /^name/ })
  }
  for (const value of [...unusable, 1n]) assert.throws(() => strToKey(value), wrongType)
  await stillWorks()
})

test('strange names are names', async () => {
  for (const name of ['', ' ', '\0', '\ud800', '\udfff\ud800', "'; DROP TABLE x; --", 'x'.repeat(1 << 20)]) {
    assert.equal(await createMutex(name).withLock(() => name), name)
  }
})

test('a text with a null character is refused by its name, and not shown', async () => {
  const url = new URL(database.connectionString)
  const base = { host: url.hostname, port: url.port, user: url.username, password: 'given', database: 'postgres' }
  for (const name of ['host', 'user', 'password', 'database', 'options', 'application_name', 'fallback_application_name', 'sslrootcert']) {
    const error = await advisoryLock({ ...base, [name]: 'zq\0zq' })('x').lock().catch((reason) => reason)
    assert.deepEqual([error.code, error.message], ['ERR_INVALID_CONNECTION_STRING', `invalid ${name}: expected a text without a NUL`])
    assert.ok(!inspect(error, { showHidden: true }).includes('zq'))
  }
  await assert.rejects(advisoryLock('postgres://u:zq%00zq@127.0.0.1/x')('x').lock(), { code: 'ERR_INVALID_CONNECTION_STRING', message: /^invalid password: / })
  await assert.rejects(advisoryLock('host=h application_name=a\0b')('x').lock(), { code: 'ERR_INVALID_CONNECTION_STRING', message: /^invalid application_name: / })
  const password = () => 'zq\0zq'
  const error = await advisoryLock({ ...base, password })('x').lock().catch((reason) => reason)
  assert.deepEqual([error.name, error.code], ['TypeError', 'ERR_INVALID_ARG_VALUE'])
  assert.match(error.message, /^what config\.password\(\) resolves to has a null character/)
  assert.ok(!inspect(error, { showHidden: true }).includes('zq'))
})

test('options that are none, unknown, of a wrong type or out of range', () => {
  const options = (value) => () => advisoryLock(database.connectionString, value)
  for (const value of [null, 1, 'x', []]) assert.throws(options(value), wrongType)
  assert.throws(options({ maxWaitConections: 1 }), { ...unknownOption, message: /maxWaitConections/ })
  for (const name of ['maxWaitConnections', 'idleTimeout', 'connectTimeout', 'heartbeat', 'answerTimeout']) {
    const named = { message: new RegExp(`^options\\.${name} `) }
    for (const value of ['1', null, 1n, {}]) assert.throws(options({ [name]: value }), { ...wrongType, ...named })
    for (const value of [NaN, -1, 0.5, Infinity, 2 ** 31]) {
      assert.throws(options({ [name]: value }), { ...outOfRange, ...named })
    }
  }
  assert.throws(options({ applicationName: 1 }), wrongType)
  assert.throws(options({ applicationName: 'a\0b' }), { ...unknownOption, message: /^options\.applicationName has a null character/ })
})

test('limits that are none, unknown, of a wrong type or out of range reject', async () => {
  const { lock, lockShared, withLock, withLockShared } = createMutex('limits')
  const calls = [lock, lockShared, (value) => withLock(assert.fail, value), (value) => withLockShared(assert.fail, value)]
  for (const call of calls) {
    for (const value of [null, 1, 'x', []]) await assert.rejects(call(value), wrongType)
    await assert.rejects(call({ timeOut: 1 }), { ...unknownOption, message: /timeOut/ })
    for (const timeout of ['1', null, 1n]) await assert.rejects(call({ timeout }), { ...wrongType, message: /timeout/ })
    for (const timeout of [NaN, -1, -Infinity]) await assert.rejects(call({ timeout }), { ...outOfRange, message: /timeout/ })
    for (const signal of [null, {}, new AbortController(), new EventTarget()]) {
      await assert.rejects(call({ signal }), { ...wrongType, message: /signal/ })
    }
  }
  for (const fn of [1, 'x', {}, Promise.resolve()]) await assert.rejects(withLock(fn), { ...wrongType, message: /^fn / })
  assert.equal(await database.lockCount(), 0)
  await stillWorks()
})

const url = new URL(database.connectionString)
const secret = 'tell nobody'
function changed(parts) {
  return Object.assign(new URL(url), parts).href
}

for (const [what, connectionString, expected] of [
  ['nobody listens', changed({ port: 1, password: secret }), { code: 'ECONNREFUSED', address: url.hostname, port: 1 }],
  ['an unknown host', changed({ hostname: 'no.such.host.invalid', password: secret }), { code: 'ENOTFOUND' }],
  ['a wrong password', changed({ password: secret }), { code: '28P01', severity: 'FATAL' }],
  ['no password', changed({ password: '' }), { code: '28P01' }],
  ['no such database', changed({ pathname: '/no_such_database' }), { code: '3D000', severity: 'FATAL' }],
  ['no such socket', `postgres://u:${secret}@h/x?host=/no/such/folder`, { code: 'ENOENT' }],
  ['a port out of range', `postgres://u:${secret}@h:99999/x`, { code: 'ERR_INVALID_URL' }],
  ['another scheme', `mysql://u:${secret}@h/x`, { code: 'ERR_INVALID_URL' }],
  ['no URL', secret, { code: 'ERR_INVALID_URL' }],
  ['a NUL in it', `postgres://u:${secret}@${url.host}/a%00b`, { code: 'ERR_INVALID_CONNECTION_STRING' }],
  ['a bad escape', `postgres://u:${secret}%zz@h/x`, { code: 'ERR_INVALID_URL' }],
  ['an unknown mode of TLS', `postgres://u:${secret}@h/x?sslmode=verify`, { code: 'ERR_INVALID_CONNECTION_STRING' }],
  ['a keyword that is mistyped', `host=h password='${secret}' sslmod=verify-full`, { code: 'ERR_INVALID_CONNECTION_STRING' }],
  ['a blank in a password that makes a keyword of its end', `host=h password=x ${secret}=y`, { code: 'ERR_INVALID_CONNECTION_STRING' }],
  ['a name without a value', `host=h password='${secret}' user`, { code: 'ERR_INVALID_CONNECTION_STRING' }],
]) {
  test(`a connection string with ${what}: each call rejects, and gives no secret away`, async () => {
    const saved = process.env.PGPASSWORD
    delete process.env.PGPASSWORD
    const { lock, tryLock, withLockShared } = advisoryLock(connectionString)('unreachable')
    if (saved !== undefined) process.env.PGPASSWORD = saved
    for (const call of [lock, tryLock, withLockShared, lock]) {
      const error = await call().then(assert.fail, (reason) => reason)
      assert.equal(error.name, 'AdvisoryLockError')
      for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value, name)
      assert.ok(!inspect(error, { depth: 10, showHidden: true }).includes(secret.split(' ')[0]), 'no secret in it')
    }
    await stillWorks()
  })
}

for (const [what, answer] of [
  ['hangs up', (socket) => socket.once('data', () => socket.destroy())],
  ['answers garbage', (socket) => socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ['answers an endless message', (socket) => socket.once('data', () => socket.write(Buffer.from('R\x7f\xff\xff\xff', 'latin1')))],
  ['never answers', () => {}],
]) {
  test(`a server that ${what}`, async () => {
    const { port } = await startListener(answer)
    const owner = advisoryLock(`postgres://u:p@127.0.0.1:${port}/x`, { connectTimeout: 300 })
    for (let call = 0; call < 2; call++) {
      const error = await owner('x').lock().then(assert.fail, (reason) => reason)
      assert.equal(error.name, 'AdvisoryLockError')
      assert.equal(typeof error.code, 'string')
      assert.notEqual(error.code, '')
    }
    await owner.close()
    await stillWorks()
  })
}
