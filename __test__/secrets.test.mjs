// A password that is not escaped, in a string with a mistake: no piece of it is in an error, in a trace or in a question to a
// name server.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createNamespace } from './support/namespace.mjs'
import { choices } from './support/random.mjs'

const skip = process.platform !== 'linux' && 'only Linux has network namespaces'
const STRINGS = 2500
const PIECE = 4

const templates = [
  'postgres://user:{}@example.test:5432/database?sslmode=verify-full',
  'postgresql://user:{}@[::1]/database',
  'postgres://user:{}@a.test:1,b.test:2/d?target_session_attrs=any',
  'postgres://user:{}@/d?host=/run/pg&application_name=me',
  'postgis://user:{}@example.test',
  'postgres:///d?host=example.test&user=user&password={}&port=5433',
  'socket:/run/pg?db=d&user=user&password={}',
  'host=example.test port=5432 user=user password={} dbname=d',
  "host=example.test user=user password='{}' dbname=d sslmode=require sslrootcert=/ca.pem",
  'password={} host=/run/pg',
]
const mistaken = [
  '//user:{}@example.test/database',
  '/user:{}@example.test/database',
  'user:{}@example.test:5432/database',
  'postgres:/user:{}@example.test/database',
  'host=postgres://user:{}@example.test/database',
  'DATABASE_URL=postgres://user:{}@example.test/database',
]
const variables = ['PGHOST', 'PGDATABASE', 'PGSSLROOTCERT', 'PGPORT', 'PGPASSWORD', 'PGPASSFILE']
const marks = [...'@/#?:%&=\' ,[]\\;+"']

const { between, chance, pick } = choices(26)

/** Letters that are nowhere else, with marks among them. */
function secret() {
  const letters = Array.from({ length: between(8, 16) }, () => pick([...'zqxjvkw']))
  for (let count = between(0, 3); count > 0; count--) letters[between(1, letters.length - 1)] = pick(marks)
  return letters.join('')
}

/** A slip of the hand outside of the password. */
function slip(template) {
  const place = between(0, template.length - 1)
  const hole = template.indexOf('{}')
  if (place === hole || place === hole + 1) return template
  const [before, after] = [template.slice(0, place), template.slice(place + 1)]
  return pick([before + after, before + pick(marks) + after, before + pick(marks) + template.slice(place)])
}

function* cases() {
  for (let count = 0; count < STRINGS; ) {
    const hidden = secret()
    const template = chance(30) ? pick(mistaken) : pick(templates)
    const inVariable = chance(12)
    const text = inVariable || chance(40) ? template : slip(template)
    // Without the at sign behind the password the last one in it makes a URL that nothing is wrong with.
    if (hidden.includes('@') && !text.includes('{}@')) continue
    // A line that has lost its colon names a user of that name.
    if (/user\{|user.?\{/.test(text) && !text.includes('user:{}')) continue
    const string = text.replace('{}', () => hidden)
    count++
    yield inVariable ? { hidden, string: 'postgres://?sslmode=require', variables: { [pick(variables)]: string } } : { hidden, string, variables: {} }
  }
}

test('no piece of a password is in an error, a trace or a question for a name', { skip }, async (t) => {
  const network = createNamespace()
  t.after(network.close)
  network.provide('resolv.conf', 'nameserver 127.0.0.1\n')
  const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-secrets-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const all = [...cases()]
  const file = join(folder, 'cases.json')
  writeFileSync(file, JSON.stringify(all))
  const output = await network.run('secretive', file)
  const parts = `\n${output}`.split(/\n#\d+\n/).slice(1)
  assert.equal(parts.length, all.length, output.slice(-2000))
  let [refused, resolved] = [0, 0]
  for (const [index, { hidden, string, variables: set }] of all.entries()) {
    const shown = parts[index]
    for (let start = 0; start + PIECE <= hidden.length; start++) {
      const piece = hidden.slice(start, start + PIECE)
      assert.ok(!shown.includes(piece), `${piece} of ${hidden} in ${JSON.stringify({ string, set })}:\n${shown}`)
    }
    if (/^ERR_INVALID/m.test(shown)) refused++
    if (/asked for: \S/.test(shown)) resolved++
  }
  t.diagnostic(`${refused} refused, ${resolved} names asked for, of ${all.length}`)
  assert.ok(refused > STRINGS / 10 && resolved > STRINGS / 10, `${refused} refused, ${resolved} looked up`)
})
