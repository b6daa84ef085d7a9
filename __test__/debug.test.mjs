// NODE_DEBUG=advisory-lock prints what happens, by names and keys, and no secret.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { strToKey } from '../index.js'
import { createCertificate, keyPem } from './support/certificates.mjs'
import { runChild } from './support/process.mjs'
import { startTlsServer } from './support/tls-server.mjs'

const tls = await startTlsServer()
const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-debug-'))
after(() => rmSync(folder, { recursive: true }))
const ca = createCertificate('authority', { ca: true })
const shown = createCertificate('server', { issuer: ca, names: ['localhost'] })
await tls.show(shown, keyPem(shown))
const sslrootcert = join(folder, 'ca.pem')
writeFileSync(sslrootcert, ca.pem)

const SECRET = 'tell nobody'
await tls.admin.query(`CREATE ROLE talker LOGIN SUPERUSER PASSWORD '${SECRET}'`)
const as = { as: 'talker', secret: SECRET }
const run = (debug) =>
  runChild('traced', [tls.string({ sslmode: 'verify-full', sslrootcert }, as), tls.string({}, as)], { env: { NODE_DEBUG: debug } })

test('it tells of connections, statements, grants, hand-overs and losses', async () => {
  const { status, stderr, stdout } = await run('advisory-lock')
  assert.equal(status, 0, stderr)
  const lines = stderr.split('\n').filter((line) => /^ADVISORY-LOCK \d+: /.test(line))
  const name = (text) => `"${text}" \\[${strToKey(text).join(', ')}\\]`
  const [traced, busy] = ['traced name', 'busy name'].map(name)
  let from = 0
  for (const expected of [
    `request \\d+: lock ${traced} exclusively`,
    `connecting to localhost:${tls.server.port} as talker`,
    `backend \\d+: connected to [0-9.:]+:${tls.server.port} as talker, TLS 1\\.3`,
    `backend \\d+: try ${traced}`,
    `request \\d+: granted ${traced} exclusively`,
    `request \\d+: handed over ${traced} exclusively`,
    `backend \\d+: unlock ${traced}`,
    `request \\d+: try ${busy} exclusively`,
    `request \\d+: taken ${busy} exclusively`,
    `backend \\d+: wait for ${busy} exclusively`,
    `request \\d+: granted ${busy} exclusively`,
    `request \\d+: granted \\[1, 2\\] shared`,
    `backend \\d+: ask who holds 3n`,
    `backend \\d+: lost: terminating connection due to administrator command \\(57P01\\)`,
    `request \\d+: lost ${busy} exclusively: .* \\(ERR_LOCK_LOST\\)`,
  ]) {
    const found = lines.findIndex((line, index) => index >= from && new RegExp(`: ${expected}`).test(line))
    assert.ok(found >= 0, `${expected} behind line ${from} of\n${lines.join('\n')}`)
    // What different threads tell may come in another order.
    if (!expected.startsWith('backend') && !expected.startsWith('connecting')) from = found
  }
  for (const text of [stderr, stdout]) {
    for (const secret of [SECRET, encodeURIComponent(SECRET), 'postgres://', 'PRIVATE KEY']) assert.ok(!text.includes(secret), secret)
  }
})

test('it is silent unless it is asked', async () => {
  for (const debug of ['', 'net', 'advisory']) {
    const { status, stderr, stdout } = await run(debug)
    assert.equal(status, 0, stderr)
    assert.doesNotMatch(stderr, /ADVISORY-LOCK/)
    assert.match(stdout, /ERR_LOCK_LOST/)
    assert.ok(!stdout.includes(SECRET) && !stdout.includes('postgres://'))
  }
})
