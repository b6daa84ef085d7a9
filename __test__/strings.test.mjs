// Connection strings mean what they mean to `pg`: both read the same strings and variables.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { comparable, meaningToPg, meanings } from './support/meaning.mjs'
import { choices } from './support/random.mjs'

const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-strings-'))
after(() => rmSync(folder, { recursive: true }))
const [ca, certificate, key] = ['ca.pem', 'client.crt', 'client.key'].map((name) => {
  const path = join(folder, name)
  writeFileSync(path, `the content of ${name}`)
  return path
})
const identity = `sslcert=${certificate}&sslkey=${key}`

const strings = [
  '',
  'postgres://',
  'postgresql://',
  'pg://',
  'pg://h/d',
  'POSTGRES://h/d',
  'postgis://u:p@h/d',
  'postgresql+psycopg2://u:p@h/d?sslmode=verify-full',
  'postgres+pool://h:5433/d',
  'psql://u:p@h/d',
  'timescaledb://u@h',
  'postgres:///d',
  'postgres:/d',
  'postgres://h',
  'postgres://h/',
  'postgres://h/d',
  'postgres://h:5433/d',
  'postgres://h:/d',
  'postgres://Host.Example/D',
  'postgres://u@h/d',
  'postgres://u:p@h/d',
  'postgres://u:p@h:5433/d',
  'postgres://u:@h/d',
  'postgres://:p@h/d',
  'postgres://@h/d',
  'postgres://u:p@ss@h/d',
  'postgres://u:p:q@h/d',
  'postgres://u:p@/d',
  'postgres://u@/d?host=/run/pg',
  'postgres://u%40x:p%3A%2F%3F%23%5B%5D%40@h/d',
  'postgres://%C3%A9:%E2%82%AC@h/%C3%A9',
  'postgres://é:€@h/é',
  'postgres://my user:my password@h/my database',
  'postgres://u:p@h/my%20database',
  'postgres://u:p@h/a%2Fb%3Fc',
  'postgres://u:p@h/a+b',
  'postgres://u:p@h/a/b',
  'postgres://u:p@h/a/../b',
  'postgres://u:p@h//d',
  'postgres://u:p@h/d/',
  "postgres://u:p@h/d'e",
  'postgres://u:!$&()*+,;=-._~@h/d',
  'postgres://u:p@127.0.0.1/d',
  'postgres://u:p@[::1]/d',
  'postgres://u:p@[2001:db8::1]:5433/d',
  'postgres://u:p@%2Frun%2Fpg/d',
  'postgres://u:p@%2frun%2fpg:5433/d',
  'postgres://h/d?host=/run/pg',
  'postgres://h/d?host=other',
  'postgres://h/d?host=',
  'postgres://h:1/d?port=5433',
  'postgres://h:5433/d?port=',
  'postgres://u:p@h/d?user=v&password=q',
  'postgres://u:p@h/d?user=&password=',
  'postgres://h/d?host=a&host=b',
  'postgres://h/d?user=a%20b&password=c%26d%3De',
  'postgres://h/d?user=a+b&password=c+d%2Be',
  '?host=h&user=u',
  '/run/pg',
  '/run/pg d',
  '/run/pg/ d e',
  'socket:/run/pg',
  'socket:/run/pg?db=d',
  'socket:/run/pg/?db=d&encoding=utf8',
  'socket:///run/pg?db=d',
  'socket://u:p@/run/pg?db=d',
  'socket:/run/pg%20x?db=d&user=u&password=p',
  'postgres://h/d?application_name=a',
  'postgres://h/d?application_name=a%20b+c',
  'postgres://h/d?application_name=',
  'postgres://h/d?fallback_application_name=f',
  'postgres://h/d?application_name=a&fallback_application_name=f',
  'postgres://h/d?unknown=1&schema=public&pgbouncer=true&connection_limit=3&keepalives=1',
  'postgres://h/d?client_encoding=latin1&replication=database&binary=1',
  'postgres://h/d?options=-c%20geqo%3Doff',
  'postgres://h/d?options=-c+geqo=off',
  'postgres://h/d?statement_timeout=5000',
  'postgres://h/d?statement_timeout=0&lock_timeout=70&idle_in_transaction_session_timeout=9',
  'postgres://h/d?statement_timeout=&query_timeout=3',
  'postgres://h/d?connect_timeout=3',
  'postgres://h/d?ssl=true',
  'postgres://h/d?ssl=1',
  'postgres://h/d?ssl=0',
  'postgres://h/d?ssl=',
  'postgres://h/d?ssl=no-verify',
  ...['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'].map((mode) => `postgres://h/d?sslmode=${mode}`),
  'postgres://h/d?sslmode=',
  'postgres://h/d?sslmode=disable&ssl=true',
  'postgres://h/d?sslmode=no-verify&ssl=0',
  `postgres://h/d?sslrootcert=${ca}`,
  `postgres://h/d?sslrootcert=${ca}&ssl=0`,
  `postgres://h/d?sslrootcert=${ca}&sslmode=disable`,
  `postgres://h/d?sslrootcert=${ca}&sslmode=no-verify`,
  `postgres://h/d?sslmode=verify-full&sslrootcert=${ca}&${identity}`,
  `postgres://h/d?${identity}`,
  'postgres://h/d?uselibpqcompat=true',
  'postgres://h/d?uselibpqcompat=false&sslmode=require',
  ...['disable', 'allow', 'prefer', 'require', 'verify-full', 'no-verify'].map(
    (mode) => `postgres://h/d?uselibpqcompat=true&sslmode=${mode}`,
  ),
  ...['allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'].map(
    (mode) => `postgres://h/d?uselibpqcompat=true&sslrootcert=${ca}&sslmode=${mode}`,
  ),
  'postgres://h/d?sslnegotiation=direct',
  'postgres://h/d?sslnegotiation=postgres',
  'postgres://h/d?sslnegotiation=direct&sslmode=require',
]

/** Strings of parts that each may have, put together at random; what the two read differently on purpose is not among them. */
function* randomStrings(count) {
  const { chance, pick, between } = choices(20_261_125)
  const schemes = ['postgres://', 'postgresql://', 'pg://', 'Postgres://', 'postgis://', 'postgresql+asyncpg://']
  const users = ['', 'u', 'u%40x', 'é', 'U.x-y~z', "o'k"]
  const passwords = ['', ':', ':p', ':p%3A%2F', ':p@ss', ':p:q', ':%E2%82%AC', ':!$&()*+,;=', ':a"b<c>`{|}^']
  const hosts = ['h', 'Host.X', '127.0.0.1', '[::1]', '[2001:db8::1]', '%2Frun%2Fpg', 'h_x', 'h-1.', 'é.example']
  const ports = ['', ':5433', ':', ':05433', ':65535', ':65536', ':x']
  const paths = ['', '/', '/d', '/d%20e', '/d%2Fe', '/é', '/a/b', '/a/../b', '/./d', '/%2e%2e/d', '//d', '/d;e', "/d'\"<>`{}|^"]
  const parameters = [
    ...['host=', 'port=1', 'port=', 'user=q', 'user', 'password=w%2B+x', 'application_name=a+b', 'application_name=%C3%A9'],
    ...['fallback_application_name=f', 'options=-c+a%3Db', 'statement_timeout=5', 'x', '=', '', 'a=b=c', 'db=y', 'encoding=x'],
    ...['ssl=true', 'ssl=1', 'ssl=0', 'ssl=no-verify', 'sslmode=require', 'sslmode=no-verify', 'sslmode=disable', 'sslmode='],
    ...['uselibpqcompat=true', 'sslnegotiation=direct'],
  ]
  for (let number = 0; number < count; number++) {
    const host = pick(hosts)
    // `pg` takes an encoded folder beside another host for a part of the path.
    const mine = host.includes('%2F') ? parameters : [...parameters, 'host=/run', 'host=x', 'host=%2Frun']
    const login = chance(70) ? `${pick(users)}${pick(passwords)}@` : ''
    const query = Array.from({ length: between(0, 3) }, () => pick(mine)).join('&')
    yield `${pick(schemes)}${login}${host}${pick(ports)}${pick(paths)}${chance(80) ? `?${query}` : ''}`
  }
}

/** What neither of the two takes. */
const refused = [
  'postgres://h:port/d',
  'postgres://h:99999/d',
  'postgres://u:p/q@h/d',
  'postgres://u:p#q@h/d',
  'postgres://u:p?q@h/d',
  'postgres://u:p%ff@h/d',
  'postgres://u%ff@h/d',
  'postgres://u:p@h/d%ff',
  'postgres://[::1/d',
  'postgres://[not-an-address]/d',
  'postgres://h/d?sslnegotiation=indirect',
  'postgres://h/d?sslnegotiation=direct&sslmode=disable',
  'postgres://h/d?uselibpqcompat=true&sslmode=verify-ca',
]

const all = { PGHOST: 'eh', PGPORT: '5433', PGUSER: 'eu', PGPASSWORD: 'ep', PGDATABASE: 'ed', PGAPPNAME: 'ea', PGOPTIONS: '-c geqo=off' }
const full = 'postgres://u:p@h:1/d?application_name=a&options=-c+geqo=on'
const bare = 'postgres://'
const sets = [
  ...['', bare, full, 'postgres://h', 'postgres://u:@h/d', '/run/pg', 'socket:/run/pg?db=d'].map((text) => [text, all]),
  ['', { PGUSER: 'eu' }],
  ['', { PGDATABASE: 'ed' }],
  ['', { PGHOST: '/run/pg', PGPORT: '5433' }],
  ['postgres://h/d?host=', { PGHOST: 'eh' }],
  ['postgres://h/d?fallback_application_name=f', { PGAPPNAME: 'ea' }],
  ['postgres://h/d', { PGAPPNAME: '' }],
  ['', { PGHOST: '', PGPORT: '', PGUSER: '', PGPASSWORD: '', PGDATABASE: '' }],
  ['postgres://u@h/d', { PGPASSWORD: 'ep%40' }],
  ...['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify', ''].map((mode) => ['postgres://h/d', { PGSSLMODE: mode }]),
  ['postgres://h/d?sslmode=disable', { PGSSLMODE: 'verify-full' }],
  ['postgres://h/d?sslmode=verify-full', { PGSSLMODE: 'disable' }],
  ['postgres://h/d?sslmode=', { PGSSLMODE: 'no-verify' }],
  ['postgres://h/d?ssl=0', { PGSSLMODE: 'require' }],
  ['postgres://h/d?ssl=', { PGSSLMODE: 'require' }],
  ['postgres://h/d?ssl=true', { PGSSLMODE: 'no-verify' }],
  [`postgres://h/d?sslrootcert=${ca}`, { PGSSLMODE: 'no-verify' }],
  ['postgres://h/d?uselibpqcompat=true', { PGSSLMODE: 'require' }],
  ['postgres://h/d', { PGSSLMODE: 'require', PGSSLNEGOTIATION: 'direct' }],
  ['postgres://h/d?sslnegotiation=postgres', { PGSSLMODE: 'require', PGSSLNEGOTIATION: 'direct' }],
  ['postgres://h/d?sslnegotiation=direct', { PGSSLMODE: 'no-verify' }],
].map(([text, variables]) => ({ text, variables: { USER: 'system', ...variables } }))

/** Where the two differ on purpose: what it means here (or the code of the error), and why. */
const meant = [
  [' ', { hosts: [['localhost', 5432]], database: 'system' }, 'nothing is said, as by an empty string; `pg` takes it for a database on a host named "base"'],
  ['postgres://h/d?ssl=false', { tls: null }, '`pg` takes the word for true, and then fails inside Node'],
  ['postgres://h/d?ssl=maybe', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'the same for any other word'],
  ['postgres://h/d?sslmode=verify', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'a mistyped mode is an error, not a mode'],
  ['postgres://u:p%zz@h/d', { code: 'ERR_INVALID_URL' }, 'a bad escape is named; `pg` takes it literally, but then all others as well'],
  ['postgres://u:p q%2F@h/d', { password: 'p q/' }, 'an escape counts; `pg` takes those with letters literally where a blank is in the string'],
  ['postgres://h/d?port=0', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'no server has port 0'],
  ['postgres://h/d?port=5432x', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'a port is a number to its end'],
  ['postgres://h/d?port=99999', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'nor is a port that there cannot be'],
  ['postgres://h/d?statement_timeout=5s', { code: 'ERR_INVALID_CONNECTION_STRING' }, '`pg` reads it as 5 ms'],
  ['postgres://h/d%00', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'the protocol ends texts by a NUL'],
  ['postgres://u:p@h/d#fragment', { code: 'ERR_INVALID_URL' }, 'a fragment is the rest of a password with a `#`; `pg` passes over it'],
  ['postgres://u:1/p@h/d', { code: 'ERR_INVALID_URL' }, 'what is behind the slash is the rest of a password; `pg` takes it for a database on the host "u"'],
  ['postgres://u:p@s/w@h/d', { code: 'ERR_INVALID_URL' }, 'the same; `pg` looks for a host "s"'],
  ['postgres://u:p@s?w@h/d', { code: 'ERR_INVALID_URL' }, 'the same with a question mark'],
  ['postgres:/u:p@h/d', { code: 'ERR_INVALID_URL' }, 'a slash is missing; `pg` takes all of it for a database'],
  ['//u:p@h/d', { code: 'ERR_INVALID_URL' }, 'the scheme is missing; `pg` takes all of it for a folder'],
  ['/u:p@h/d', { code: 'ERR_INVALID_URL' }, 'the same'],
  ['socket://u:p@h/run/pg?db=d', { code: 'ERR_INVALID_URL' }, 'a socket has no host; `pg` passes over it'],
  ['postgres://u%3Ap@h/d', { code: 'ERR_INVALID_URL' }, 'the colon was escaped with the rest; `pg` takes it for a user "u:p"'],
  ['postgres://h/d?host=h:5433', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'a port is no part of a name; `pg` looks it up with it'],
  ['mysql://u:p@h/d', { code: 'ERR_INVALID_URL' }, 'another scheme is another database; `pg` connects all the same'],
  ['localhost', { code: 'ERR_INVALID_URL' }, 'no URL; `pg` takes it for a database on a host named "base"'],
  ['h:5432/d', { code: 'ERR_INVALID_URL' }, 'no URL; `pg` takes "h:" for the scheme'],
  ['postgres:d', { code: 'ERR_INVALID_URL' }, '`pg` loses the first letter of the database'],
  [`postgres://h/d?sslcert=${certificate}`, { code: 'ERR_INVALID_CONNECTION_STRING' }, 'half an identity proves nothing; `pg` shows none'],
  [`postgres://h/d?sslmode=require&sslkey=${key}`, { code: 'ERR_INVALID_CONNECTION_STRING' }, 'the same'],
  ['postgres://h/d?sslmode=verify-full&sslrootcert=system', { tls: { trust: 'name', roots: null } }, "libpq's word for the platform's roots; `pg` looks for a file of that name"],
  ['postgres://h?dbname=d', { database: 'd' }, "libpq's way to name the database, where the URL names none"],
  ['postgres://h?database=d', { database: 'd' }, 'the same by another word'],
  ['postgres://%2Frun%2Fpg/d?host=h', { hosts: [['h', 5432]], database: 'd' }, '`pg` takes the folder for a part of the database'],
  ['postgres://h/d?password=%E2%82', { code: 'ERR_INVALID_URL' }, 'half a character is named; `pg` takes it for a question mark in a diamond'],
  ['socket:/run/pg?sslmode=verify-full', { tls: { trust: 'name' } }, '`pg` looks for no mode in this form; neither of the two uses TLS by a unix socket'],
  ['postgres://h:1,i:2/d', { hosts: [['h', 1], ['i', 2]] }, "libpq's lists of hosts; no URL to `pg`"],
  ['postgres://:5433/d', { hosts: [['localhost', 5433]] }, 'a port of the default host, as libpq takes it; no URL to `pg`'],
  ['postgres://h/d?host=a,b&port=1,2', { hosts: [['a', 1], ['b', 2]] }, 'the same in parameters; `pg` looks for a host "a,b"'],
  ['', { tls: { trust: 'name', roots: { path: ca } } }, "libpq's variable counts, which `pg` passes over", { PGSSLMODE: 'require', PGSSLROOTCERT: ca }],
  ...['require', 'verify-ca'].map((mode) => [
    `postgres://h/d?uselibpqcompat=true&sslmode=${mode}`,
    { tls: { trust: 'issuer', roots: { path: ca } } },
    'it counts for the modes in the sense of libpq as well',
    { PGSSLROOTCERT: ca },
  ]),
  ['', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'a mistyped mode is an error in a variable as well', { PGSSLMODE: 'verify' }],
  ['', { code: 'ERR_INVALID_CONNECTION_STRING' }, 'and so is a port that is none', { PGPORT: 'x' }],
  ['host=h user=u dbname=d', { hosts: [['h', 5432]], user: 'u', database: 'd' }, "libpq's key=value form; `pg` takes it for a database"],
]

const plain = (text, variables) => ({ text, variables: { USER: 'system', ...variables } })
const [same, unusable, different] = [[...strings.map((text) => plain(text)), ...sets], refused.map((text) => plain(text)), meant.map(([text, , , variables]) => plain(text, variables))]
const random = Array.from(randomStrings(3000), (text) => plain(text))
const every = [...same, ...unusable, ...different, ...random]
const answers = meanings(every)
const found = new Map(every.map((one, index) => [one, answers[index]]))

const title = ({ text, variables }) => `${JSON.stringify(text.replaceAll(folder, '…'))} with ${JSON.stringify(variables)}`
test('there is enough to compare', () => {
  assert.ok(new Set(strings).size >= 80, `${new Set(strings).size} strings`)
  assert.ok(sets.length >= 20, `${sets.length} sets of variables`)
})

for (const one of same) {
  test(`the same as to pg: ${title(one)}`, () => {
    const { error, ...expected } = meaningToPg(one)
    assert.ifError(error)
    assert.equal(found.get(one).code, undefined, found.get(one).message)
    assert.deepEqual(comparable(found.get(one)), expected)
  })
}

test('the same as to pg: strings put together at random', () => {
  let taken = 0
  for (const one of random) {
    const { error, ...expected } = meaningToPg(one)
    assert.equal(found.get(one).code !== undefined, error !== undefined, title(one))
    if (error) continue
    assert.deepEqual(comparable(found.get(one)), expected, title(one))
    taken++
  }
  assert.ok(taken > 1000 && taken < random.length, `${taken} of ${random.length} were taken`)
})

for (const one of unusable) {
  test(`refused as by pg: ${title(one)}`, () => {
    assert.ok(meaningToPg(one).error instanceof Error)
    assert.match(found.get(one).code, /^ERR_INVALID_(URL|CONNECTION_STRING)$/)
  })
}

for (const [index, one] of different.entries()) {
  const [, expected, reason] = meant[index]
  test(`other than to pg, as ${reason}: ${title(one)}`, () => {
    const ours = found.get(one)
    for (const [name, value] of Object.entries(expected)) {
      if (name === 'tls' && value) for (const [part, wanted] of Object.entries(value)) assert.deepEqual(ours.tls[part], wanted)
      else assert.deepEqual(ours[name], value, name)
    }
    // That they differ is part of the claim: where `pg` comes to agree, the row has to go.
    const theirs = meaningToPg(one)
    if (!theirs.error) assert.notDeepEqual(ours.code ? ours : comparable(ours), theirs)
    else assert.equal(ours.code, undefined)
  })
}
