// Configuration objects mean what they mean to `pg`, to which the original handed its argument on: both read the same objects and
// variables.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import advisoryLock from '../index.js'
import contract2 from '../v2.js'
import { comparable, meaningToPg, meanings } from './support/meaning.mjs'

const url = 'postgres://u:p@h:5433/d'
const [ca, cert, key] = ['ca', 'cert', 'key'].map((name) => `the ${name} as PEM`)
const password = () => 'from a function'

class Config {
  host = 'of-a-class'
  get user() {
    return 'by a getter'
  }
}
const inherited = Object.create({ host: 'inherited', port: 5433 })
const bare = Object.assign(Object.create(null), { host: 'h', database: 'd' })

const objects = [
  {},
  { host: 'h' },
  { host: 'h', port: 5433, user: 'u', password: 'p', database: 'd' },
  { host: 'h', port: '5433' },
  { host: '127.0.0.1', port: 65_535 },
  { host: '::1' },
  { host: '/run/pg', database: 'd' },
  { host: '', port: 0, user: '', password: '', database: '' },
  { host: null, port: null, user: null, password: null, database: null },
  { host: undefined, port: undefined, user: undefined, password: undefined, database: undefined },
  { user: 'me@tenant', password: "p@ss/w?rd#'\\", database: 'a b' },
  { user: 'é', password: '€', database: 'ü' },
  { database: 'only' },
  { user: 'only' },
  { port: NaN },
  { application_name: 'a' },
  { application_name: '', fallback_application_name: 'f' },
  { application_name: 'a b', fallback_application_name: 'f' },
  { options: '-c geqo=off' },
  { statement_timeout: 5000 },
  { statement_timeout: false, lock_timeout: 70, idle_in_transaction_session_timeout: 9 },
  { statement_timeout: 0, lock_timeout: '80' },
  { options: '-c geqo=off', statement_timeout: 5 },
  { query_timeout: 10, keepAlive: true, keepAliveInitialDelayMillis: 1000, connectionTimeoutMillis: 3000, client_encoding: 'utf8' },
  { max: 5, min: 0, idleTimeoutMillis: 10, allowExitOnIdle: true, maxUses: 3, log: () => {}, Promise, types: { getTypeParser() {} }, binary: true },
  { username: 'ignored', hostname: 'ignored', db: 'ignored', dbname: 'ignored', pass: 'ignored', uri: url, url, service: 'ignored' },
  { password },
  { host: 'h', user: 'u', password: async () => 'x' },
  { ssl: true },
  { ssl: false },
  { ssl: null },
  { ssl: undefined },
  { ssl: 0 },
  { ssl: '' },
  { ssl: 'true' },
  { ssl: 'no-verify' },
  { ssl: {} },
  { ssl: { rejectUnauthorized: false } },
  { ssl: { rejectUnauthorized: true } },
  { ssl: { rejectUnauthorized: undefined } },
  { ssl: { ca } },
  { ssl: { ca: Buffer.from(ca) } },
  { ssl: { ca: [ca, Buffer.from('another')] } },
  { ssl: { ca, rejectUnauthorized: false } },
  { ssl: { cert, key } },
  { ssl: { ca, cert: Buffer.from(cert), key: Buffer.from(key) } },
  { ssl: { ca: '', cert: undefined, key: null } },
  { ssl: { servername: 'db.example' } },
  { ssl: true, sslnegotiation: 'direct' },
  { ssl: true, sslnegotiation: 'postgres' },
  { connectionString: '' },
  { connectionString: null, host: 'h' },
  { connectionString: undefined, host: 'h' },
  { connectionString: url },
  { connectionString: url, host: 'i', port: 1, user: 'v', password: 'q', database: 'e' },
  { connectionString: 'postgres://h', host: 'i', port: 1, user: 'v', password: 'q', database: 'e' },
  { connectionString: 'postgres://h', password },
  { connectionString: 'postgres:///', host: 'i' },
  { connectionString: 'postgres://h/d?user=w', user: 'v' },
  { connectionString: '/run/pg', host: 'i', port: 5433, user: 'v', password: 'q', database: 'e' },
  { connectionString: '/run/pg d', port: 5433, user: 'v', password, database: 'e' },
  { connectionString: 'socket:/run/pg?db=d', host: 'i', port: 5433, user: 'v', password: 'q', database: 'e' },
  { connectionString: `${url}?application_name=s`, application_name: 'o' },
  { connectionString: `${url}?application_name=`, application_name: 'o' },
  { connectionString: url, application_name: 'o', options: '-c geqo=off', statement_timeout: 7 },
  { connectionString: `${url}?statement_timeout=8`, statement_timeout: 7, lock_timeout: 6 },
  { connectionString: url, ssl: true },
  { connectionString: url, ssl: { ca, rejectUnauthorized: false } },
  { connectionString: `${url}?sslmode=require`, ssl: false },
  { connectionString: `${url}?sslmode=require`, ssl: { rejectUnauthorized: false, ca } },
  { connectionString: `${url}?sslmode=disable`, ssl: { ca } },
  { connectionString: `${url}?sslmode=no-verify`, ssl: true },
  { connectionString: `${url}?sslmode=`, ssl: { ca } },
  { connectionString: `${url}?ssl=0`, ssl: { ca } },
  { connectionString: `${url}?ssl=`, ssl: { ca } },
  { connectionString: `${url}?ssl=true`, ssl: { rejectUnauthorized: false } },
  { connectionString: `${url}?sslnegotiation=direct`, ssl: { ca, cert, key } },
  { connectionString: `${url}?sslnegotiation=postgres`, ssl: { ca }, sslnegotiation: 'direct' },
  new Config(),
  inherited,
  bare,
  Object.freeze({ host: 'h', ssl: Object.freeze({ ca }) }),
  new Proxy({ host: 'h', user: 'u' }, {}),
]

const variables = {
  USER: 'system', PGHOST: 'eh', PGPORT: '5434', PGUSER: 'eu', PGPASSWORD: 'ep', PGDATABASE: 'ed', PGAPPNAME: 'ea',
  PGOPTIONS: '-c geqo=on', PGSSLMODE: 'no-verify', PGSSLNEGOTIATION: 'postgres',
}

/** Where the two differ on purpose: what it means here (or the code of the error), and why. */
const meant = [
  [{ host: 'a,b', port: '1,2' }, { hosts: [['a', 1], ['b', 2]] }, "libpq's lists of hosts; `pg` looks for a host \"a,b\""],
  [{ sslmode: 'verify-full' }, { tls: { trust: 'name' } }, 'a parameter of libpq counts, which `pg` passes over in an object'],
  [{ sslmode: 'verify' }, { code: 'ERR_INVALID_CONNECTION_STRING' }, 'and so does one that is none'],
  [{ gssencmode: 'require' }, { code: 'ERR_INVALID_CONNECTION_STRING' }, 'what asks for more safety is not passed over'],
  [{ port: '5432x' }, { code: 'ERR_INVALID_CONNECTION_STRING' }, 'a port is a number to its end'],
  [{ port: 99_999 }, { code: 'ERR_INVALID_CONNECTION_STRING' }, 'nor is a port that there cannot be'],
  [{ host: 'h:5432' }, { code: 'ERR_INVALID_CONNECTION_STRING' }, 'a port is no part of a name'],
  [{ host: url }, { code: 'ERR_INVALID_CONNECTION_STRING' }, 'a URL is no host, and its password no name to look up'],
  [{ connectionString: 'host=h dbname=d', user: 'v' }, { hosts: [['h', 5432]], database: 'd', user: 'system' }, "libpq's form decides as a URL does"],
  [{ ssl: { ca, minVersion: 'TLSv1.3' } }, { tls: { trust: 'name' } }, 'not to be compared so: `pg` hands it on', undefined, true],
]

const cases = [
  ...objects.map((object) => ({ object, variables: { USER: 'system' } })),
  ...objects.map((object) => ({ object, variables })),
]
const different = meant.map(([object, , , own]) => ({ object, variables: { USER: 'system', ...own } }))
const answers = meanings([...cases, ...different])

test('there is enough to compare', () => assert.ok(objects.length >= 60, `${objects.length} objects`))

for (const [index, one] of cases.entries()) {
  test(`the same as to pg: ${inspect(one.object)}${one.variables === variables ? ' with variables' : ''}`, () => {
    const { error, ...expected } = meaningToPg(one)
    assert.ifError(error)
    assert.equal(answers[index].code, undefined, answers[index].message)
    assert.deepEqual(comparable(answers[index]), expected)
  })
}

for (const [index, [object, expected, reason, , isAlike]] of meant.entries()) {
  test(`other than to pg, as ${reason}: ${inspect(object)}`, () => {
    const ours = answers[cases.length + index]
    for (const [name, value] of Object.entries(expected)) {
      if (name === 'tls') for (const [part, wanted] of Object.entries(value)) assert.deepEqual(ours.tls[part], wanted)
      else assert.deepEqual(ours[name], value, name)
    }
    const theirs = meaningToPg(different[index])
    if (!isAlike) assert.notDeepEqual(ours.code ? ours : comparable(ours), theirs)
  })
}

const entries = [advisoryLock, contract2]
const wrongType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
const wrongValue = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }

test('a field of a wrong type is named', () => {
  const wrong = [Symbol('secret'), 5n, {}, ['secret'], { toString: () => 'secret' }, { valueOf: () => 'secret', [Symbol.toPrimitive]: () => 'secret' }]
  const fields = {
    connectionString: [...wrong, 5, true, new String('secret')],
    host: [...wrong, 5, true],
    port: [...wrong, true],
    user: [...wrong, 5, true],
    database: [...wrong, 5, true],
    password: [...wrong, 5, true, Promise.resolve('secret'), Buffer.from('secret')],
    application_name: [...wrong, 5],
    fallback_application_name: [...wrong, 5],
    options: [...wrong, 5, { max: 5 }],
    statement_timeout: [...wrong, true],
    lock_timeout: [...wrong, true],
    idle_in_transaction_session_timeout: [...wrong, true],
    query_timeout: [...wrong, true],
    connectionTimeoutMillis: [...wrong, true, 'soon'],
    keepAlive: [Symbol('secret'), 5, 'yes', {}],
    keepAliveInitialDelayMillis: [...wrong, true],
    sslnegotiation: [...wrong, 5],
    ssl: [Symbol('secret'), 5, 5n, 'secret', ['secret'], Buffer.from('secret'), () => {}],
  }
  for (const entry of entries) {
    for (const [name, values] of Object.entries(fields)) {
      for (const value of values) {
        assert.throws(() => entry({ [name]: value }), (error) => {
          assert.deepEqual([error.name, error.code], ['TypeError', 'ERR_INVALID_ARG_TYPE'], `${name} ${inspect(value)}`)
          assert.ok(error.message.startsWith(`config.${name} must be `), error.message)
          assert.ok(!inspect(error, { showHidden: true }).includes('secret'))
          return true
        })
      }
    }
  }
})

test('a limit for connecting that is none says what it may be', () => {
  for (const entry of entries) {
    for (const value of [-5, '-5', 0.5, -Infinity]) {
      const message = `config.connectionTimeoutMillis must be a number of milliseconds, 1 or more, or 0 for no limit, got ${value}`
      assert.throws(() => entry({ connectionTimeoutMillis: value }), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE', message })
    }
  }
})

test('a field of `ssl` that is unknown or of a wrong type is named', () => {
  for (const entry of entries) {
    for (const name of ['checkServerIdentity', 'secureContext', 'socket', 'agent', 'session', 'SNICallback', 'ciphers', 'pfx', 'crl', 'rejectUnauthorised', 'Ca']) {
      for (const value of [{}, () => {}, 'secret', false, null]) {
        assert.throws(() => entry({ ssl: { [name]: value } }), { ...wrongValue, message: new RegExp(`^config\\.ssl\\.${name} is not supported`) })
      }
      entry({ ssl: { [name]: undefined } })
    }
    for (const name of ['ca', 'cert', 'key']) {
      for (const value of [5, true, {}, Symbol('secret'), [5], [], [[ca]], new String('secret')]) {
        assert.throws(() => entry({ ssl: { cert, key, [name]: value } }), { ...wrongType, message: new RegExp(`^config\\.ssl\\.${name} must be `) })
      }
    }
    assert.throws(() => entry({ ssl: { key: [key, key], cert } }), { ...wrongType, message: /one key/ })
    for (const name of ['servername', 'passphrase', 'minVersion', 'maxVersion']) {
      for (const value of [5, true, {}, Symbol('secret')]) {
        assert.throws(() => entry({ ssl: { [name]: value } }), { ...wrongType, message: new RegExp(`^config\\.ssl\\.${name} must be a string`) })
      }
    }
    for (const value of [0, 'false', {}]) {
      assert.throws(() => entry({ ssl: { rejectUnauthorized: value } }), { ...wrongType, message: /^config\.ssl\.rejectUnauthorized / })
    }
    assert.throws(() => entry({ ssl: { cert } }), { ...wrongValue, message: /config\.ssl\.key/ })
    assert.throws(() => entry({ ssl: { key } }), { ...wrongValue, message: /config\.ssl\.cert/ })
    assert.throws(() => entry({ ssl: { cert, key: 'no key: secret', passphrase: 'tell nobody' } }), (error) => {
      assert.deepEqual([error.name, error.code], ['TypeError', 'ERR_INVALID_ARG_VALUE'])
      assert.ok(!/secret|tell/.test(inspect(error, { depth: 9, showHidden: true })))
      return true
    })
  }
})

test("streams, sockets and other makers of connections are refused", () => {
  for (const entry of entries) {
    for (const name of ['stream', 'connection']) {
      for (const value of [() => {}, {}, 'x']) {
        assert.throws(() => entry({ host: 'h', [name]: value }), { ...wrongValue, message: new RegExp(`^config\\.${name} is not supported`) })
      }
      entry({ [name]: undefined })
    }
  }
})

test('what only looks like a configuration is refused', () => {
  for (const entry of entries) {
    for (const value of [new URL(url), Promise.resolve({ host: 'h' }), new String(url), new Map([['host', 'h']]), new Date(), /x/, Buffer.from(url), [url], null, 5, () => url]) {
      assert.throws(() => entry(value), { ...wrongType, message: /^connectionString must be a string or a configuration object/ }, inspect(value))
    }
  }
})

test('each field is read once, when the object is given', async () => {
  const reads = new Map()
  const target = { host: 'no.such.host.invalid', port: 1, user: 'u', password: 'tell nobody', database: 'd', ssl: { ca, cert, key } }
  const count = (object, path) =>
    new Proxy(object, {
      get(inner, name) {
        const place = path + String(name)
        if (Object.hasOwn(inner, name)) reads.set(place, (reads.get(place) ?? 0) + 1)
        return typeof inner[name] === 'object' ? count(inner[name], `${place}.`) : inner[name]
      },
    })
  const createMutex = advisoryLock(count(target, ''))
  assert.deepEqual([...reads.keys()].sort(), ['database', 'host', 'password', 'port', 'ssl', 'ssl.ca', 'ssl.cert', 'ssl.key', 'user'])
  assert.ok([...reads.values()].every((times) => times === 1), inspect(reads))
  target.host = '127.0.0.1'
  target.ssl = false
  await assert.rejects(createMutex('x').tryLock(), { code: 'ERR_INVALID_CONNECTION_STRING', message: /ssl\.ca/ })
  await createMutex.close()
  const failure = new Error('a getter fails')
  const failing = { get host() { throw failure } }
  assert.throws(() => advisoryLock(failing), (error) => error === failure)
})

test('nothing of it is seen by inspection, in messages or in traces', async () => {
  const secret = 'correcthorse'
  const createMutex = advisoryLock({ host: '127.0.0.1', port: 1, password: secret, ssl: { ca: secret, cert: secret, key: secret } })
  const mutex = createMutex('x')
  const error = await mutex.tryLock().then(assert.fail, (reason) => reason)
  for (const value of [createMutex, mutex, createMutex.client, error, error.stack]) {
    assert.ok(!inspect(value, { depth: 20, showHidden: true, getters: true }).includes(secret))
    assert.ok(!JSON.stringify(value)?.includes(secret))
  }
  assert.match(error.message, /^ssl\.ca cannot be used: it has no certificate/)
  await createMutex.close()
})
