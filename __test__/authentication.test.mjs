// Who asks for the password, and how: what `require_auth` allows is all that is answered, SCRAM has a limit that can be raised,
// and who does not prove itself has answered for all hosts.

import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import pg from 'pg'
import advisoryLock from '../index.js'
import { startServer } from '../scripts/embedded-postgres.mjs'
import { startListener } from './support/listener.mjs'
import { authentication, field, message, ready, zero } from './support/messages.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { startAnswering } from './support/recorder.mjs'

const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-hba-'))
after(() => rm(folder, { recursive: true, force: true }))
await chmod(folder, 0o755)
const rules = join(folder, 'pg_hba.conf')
const methods = { trusted: 'trust', clear: 'password', hashed: 'md5' }
await writeFile(rules, [...Object.entries(methods).map(([role, method]) => `host all ${role} all ${method}\n`), 'host all all all scram-sha-256\n'].join(''))
const server = await startServer({ hba_file: rules })
after(() => server.stop())

const admin = new pg.Client({ connectionString: server.connectionString(), application_name: 'plain client' })
// The server may end before it does.
admin.on('error', () => {})
await admin.connect()
after(() => admin.end())
const SECRET = 'no-one-s'
for (const [role, settings] of Object.entries({
  trusted: '',
  clear: '',
  hashed: `SET password_encryption = 'md5'`,
  proved: '',
  costly: 'SET scram_iterations = 600000',
})) {
  await admin.query(`${settings}; CREATE ROLE ${role} LOGIN PASSWORD '${SECRET}'; RESET ALL`)
}

const string = (role, query = {}) => `postgres://${role}:${SECRET}@127.0.0.1:${server.port}/postgres?${new URLSearchParams(query)}`
/** What comes of a call: `ok`, or the error. */
async function outcome(connectionString, options) {
  const createMutex = advisoryLock(connectionString, options)
  try {
    return await createMutex('who').tryLock().then(() => 'ok', (error) => error)
  } finally {
    await createMutex.close()
  }
}
const code = async (...parameters) => {
  const result = await outcome(...parameters)
  assert.doesNotMatch(`${result.message}`, new RegExp(SECRET))
  return result.code ?? result
}

test('require_auth: each way that a server may ask, and lists of those that are allowed', async () => {
  const roles = { trusted: 'none', clear: 'password', hashed: 'md5', proved: 'scram-sha-256' }
  const all = [...Object.values(roles), 'gss', 'sspi', 'oauth']
  for (const [role, method] of Object.entries(roles)) {
    assert.equal(await code(string(role)), 'ok', role)
    for (const listed of all) {
      const [expected, otherwise] = listed === method ? ['ok', 'ERR_AUTH_METHOD'] : ['ERR_AUTH_METHOD', 'ok']
      assert.equal(await code(string(role, { require_auth: listed })), expected, `${role}: ${listed}`)
      assert.equal(await code(string(role, { require_auth: `!${listed}` })), otherwise, `${role}: !${listed}`)
    }
    assert.equal(await code(string(role, { require_auth: all.join() })), 'ok', role)
    assert.equal(await code(string(role, { require_auth: 'gss,sspi' })), 'ERR_AUTH_METHOD', role)
  }
  const error = await outcome(string('clear', { require_auth: 'scram-sha-256' }))
  assert.match(error.message, /clear text.*require_auth/)
})

test('who asks in a way that is not allowed hears nothing', async () => {
  const asks = { clear: authentication(3), md5: authentication(5, Buffer.from('salt')), nothing: Buffer.concat([authentication(0), ready]) }
  for (const [what, answer] of Object.entries(asks)) {
    const asking = await startAnswering(answer)
    const where = `postgres://ann:${SECRET}@127.0.0.1:${asking.port}/postgres?require_auth=scram-sha-256`
    assert.equal(await code(where), 'ERR_AUTH_METHOD', what)
    assert.equal(asking.packets.length, 1, 'the start alone')
    assert.ok(!Buffer.concat(asking.packets).includes(SECRET))
  }
})

test('a proof that takes many iterations: refused unless the limit is raised, and the error says how', async () => {
  const error = await outcome(string('costly'))
  assert.equal(error.code, 'ERR_SCRAM')
  assert.match(error.message, /600000.*scramMaxIterations=600000/)
  const byPg = async (settings) => {
    const client = new pg.Client({ connectionString: string('costly'), ...settings })
    client.on('error', () => {})
    const result = await client.connect().then(() => 'ok', () => 'refused')
    await client.end()
    return result
  }
  assert.deepEqual([await byPg({}), await byPg({ scramMaxIterations: 600_000 }), await byPg({ scramMaxIterations: 0 })], ['refused', 'ok', 'ok'])
  for (const scramMaxIterations of [600_000, 0]) assert.equal(await code(string('costly', { scramMaxIterations })), 'ok')
  assert.equal(await code(string('costly', { scramMaxIterations: 599_999 })), 'ERR_SCRAM')
  assert.equal(await code(string('proved', { scramMaxIterations: 4096 })), 'ok')
  assert.equal(await code(string('proved', { scramMaxIterations: 4095 })), 'ERR_SCRAM')
  for (const wrong of ['-1', 'many', '1.5', '4294967296']) {
    assert.equal(await code(string('proved', { scramMaxIterations: wrong })), 'ERR_INVALID_CONNECTION_STRING', wrong)
  }
})

test('while one session proves a password for long, the others are served', async () => {
  const busy = advisoryLock(string('proved'))
  const unlock = await busy('meanwhile').lock()
  let proving = true
  const costly = code(string('costly', { scramMaxIterations: 0 })).finally(() => (proving = false))
  const times = []
  while (proving) {
    const begin = performance.now()
    assert.equal(await busy(`meanwhile ${times.length}`).tryLock(), true)
    times.push(performance.now() - begin)
  }
  assert.equal(await costly, 'ok')
  assert.ok(times.length > 20, `${times.length} calls meanwhile`)
  await unlock()
  await busy.close()
})

/** A server that begins SCRAM and goes on as told: `[what is sent after the client's first message, after its second …]`. */
const startImpostor = (answers) =>
  startListener((socket) => {
    const asked = authentication(10, Buffer.concat([field('', 'SCRAM-SHA-256'), zero]))
    const rest = [() => asked, ...answers]
    socket.on('data', (data) => {
      const answer = rest.shift()
      if (answer) socket.write(answer(data))
    })
  })
const first = (data) => {
  const nonce = /r=([^,]+)$/.exec(data.toString())[1]
  return authentication(11, Buffer.from(`r=${nonce}more,s=c2FsdA==,i=4096`))
}
const letIn = () => Buffer.concat([authentication(0), ready])
const impostors = {
  'lets the client in without a proof of its own': [first, letIn],
  'lets the client in before it asks anything': [letIn],
  'proves something else': [first, () => authentication(12, Buffer.from(`v=${Buffer.alloc(32).toString('base64')}`))],
  'says that the proof fails': [first, () => authentication(12, Buffer.from('e=other-error'))],
  'asks for four thousand million iterations': [(data) => authentication(11, Buffer.from(`${/r=[^,]+$/.exec(data.toString())[0]}x,s=c2FsdA==,i=4294967295`))],
}
for (const [what, answers] of Object.entries(impostors)) {
  test(`a server that ${what} has answered for all hosts`, async () => {
    const impostor = await startImpostor(answers)
    const next = await startAnswering()
    const hosts = `127.0.0.1:${impostor.port},127.0.0.1:${next.port}`
    assert.equal(await code(`postgres://ann:${SECRET}@${hosts}/postgres`, { connectTimeout: 2000 }), 'ERR_SCRAM')
    assert.equal(next.connections(), 0)
  })
}

for (const [what, answer] of Object.entries({
  garbage: Buffer.from(Array.from({ length: 512 }, (_, index) => (index * 7919 + 13) % 251)),
  'a web page': Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'),
  'a question of 3,000 bytes': authentication(10, Buffer.concat([field('', 'X'.repeat(2990)), zero])),
  'a failure of 40,000 bytes': message('E', Buffer.concat([field('S', 'FATAL'), field('C', '57P03'), field('M', 'x'.repeat(40_000)), zero])),
  'a question that nobody knows': authentication(4711),
})) {
  test(`${what} is an answer for all hosts`, async () => {
    const answering = await startAnswering(answer)
    const next = await startAnswering()
    const hosts = `127.0.0.1:${answering.port},127.0.0.1:${next.port}`
    assert.equal(await code(`postgres://ann:${SECRET}@${hosts}/postgres`, { connectTimeout: 2000 }), '08P01')
    assert.equal(next.connections(), 0)
  })
}

test('garbage in the place of TLS is an answer for all hosts', async () => {
  const answering = await startAnswering(Buffer.from('Sgarbage that is no TLS'))
  const next = await startAnswering()
  const hosts = `127.0.0.1:${answering.port},127.0.0.1:${next.port}`
  assert.equal(await code(`postgres://ann:${SECRET}@${hosts}/postgres?sslmode=no-verify`, { connectTimeout: 2000 }), 'EPROTO')
  assert.equal(next.connections(), 0)
})

test('what a pooler says is what the caller is told, with and without a password', async () => {
  const pooler = await startPgBouncer(server.connectionString(), 'session', { auth_type: 'any' })
  after(pooler.stop)
  for (const login of ['ann', `ann:${SECRET}`]) {
    const url = new URL(pooler.connectionString)
    const byPg = async (connectionString) => {
      const client = new pg.Client({ connectionString })
      client.on('error', () => {})
      return client.connect().then(() => client.end(), (error) => error)
    }
    const where = `postgres://${login}@${url.host}/postgres?options=-c%20work_mem%3D1MB`
    const [ours, theirs] = [await outcome(where), await byPg(where)]
    assert.equal(ours.code, theirs.code)
    assert.equal(ours.code, '08P01')
    assert.equal(ours.message, theirs.message)
    assert.match(ours.message, /unsupported startup parameter/)
  }
})
