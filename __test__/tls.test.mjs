// TLS: whom the client trusts, compared with `pg` at the same server, and whom the server trusts.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { chmod, chown, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import advisoryLock from '../index.js'
import { createCertificate, keyPem } from './support/certificates.mjs'
import { until } from './support/database.mjs'
import { startMeddler } from './support/meddler.mjs'
import { startPgBouncer } from './support/pgbouncer.mjs'
import { runChild } from './support/process.mjs'
import { startAnswering, startRecorder } from './support/recorder.mjs'
import { outcomeOfPg, startTlsServer } from './support/tls-server.mjs'

const tls = await startTlsServer()
const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-tls-'))
after(() => rmSync(folder, { recursive: true }))
const put = (name, content) => {
  const path = join(folder, name)
  writeFileSync(path, content, { mode: 0o600 })
  return path
}

const names = ['localhost', '127.0.0.1']
const ca = createCertificate('the right authority', { ca: true })
const otherCa = createCertificate('another authority', { ca: true })
const namesake = createCertificate('the right authority', { ca: true })
const between = createCertificate('in between', { ca: true, issuer: ca })
const unfit = createCertificate('may sign nobody', { issuer: ca })
const unfitRoot = createCertificate('may sign nobody')
const expiredCa = createCertificate('an expired authority', { ca: true, days: [-9, -2] })
const oldCa = createCertificate('an old authority', { version: 1 })
const good = createCertificate('server', { issuer: ca, names })
const caFile = put('ca.pem', ca.pem)
const otherCaFile = put('other-ca.pem', otherCa.pem)
const namesakeFile = put('namesake.pem', namesake.pem)
const bundle = put('bundle.pem', `${otherCa.pem}\n# a comment\n${ca.pem}`)
const trusting = { sslmode: 'verify-full', sslrootcert: caFile }

/** What becomes of a connection by this package: `ok`, or the code of the error. */
async function outcome(connectionString) {
  const createMutex = advisoryLock(connectionString)
  try {
    assert.equal(await createMutex('tls').tryLock(), true)
    return 'ok'
  } catch (error) {
    assert.equal(error.name, 'AdvisoryLockError')
    return error.code
  } finally {
    await createMutex.close()
  }
}

/** The rows of `pg_stat_ssl` of this package's sessions. */
async function encryption() {
  const { rows } = await tls.admin.query(
    `SELECT ssl, version, client_dn FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'advisory-lock-native'`,
  )
  return rows
}

const oldOne = createCertificate('localhost', { version: 1 })
const expiredOldOne = createCertificate('localhost', { version: 1, days: [-9, -2] })
const again = createCertificate('localhost', { version: 1, keys: oldOne })
const everybody = 'host all all all scram-sha-256'
const OK = 'ok'
const UNKNOWN = 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'
const NAME = 'ERR_TLS_CERT_ALTNAME_INVALID'

/** What a server shows, which file the client has, and what comes of it where issuer and name count, or the issuer alone. */
const cases = [
  ['a certificate of the right authority', { shown: good, roots: caFile }, [OK, OK]],
  ['one of several trusted authorities', { shown: good, roots: bundle }, [OK, OK]],
  ['a certificate of another authority', { shown: good, roots: otherCaFile }, [UNKNOWN, UNKNOWN]],
  ['a certificate of a namesake of the authority', { shown: good, roots: namesakeFile }, ['CERT_SIGNATURE_FAILURE', 'CERT_SIGNATURE_FAILURE']],
  ['an authority that the platform does not know', { shown: good }, [UNKNOWN, undefined]],
  ['another name', { shown: createCertificate('server', { issuer: ca, names: ['other.example'] }), roots: caFile }, [NAME, OK]],
  ['a name where the address is asked for', { shown: createCertificate('server', { issuer: ca, names: ['localhost'] }), roots: caFile, host: '127.0.0.1' }, [NAME, OK]],
  ['the address', { shown: createCertificate('server', { issuer: ca, names: ['127.0.0.1'] }), roots: caFile, host: '127.0.0.1' }, [OK, OK]],
  ['a star that does not reach so far', { shown: createCertificate('server', { issuer: ca, names: ['*.localhost'] }), roots: caFile }, [NAME, OK]],
  ['an expired certificate', { shown: createCertificate('server', { issuer: ca, names, days: [-9, -2] }), roots: caFile }, ['CERT_HAS_EXPIRED', 'CERT_HAS_EXPIRED']],
  ['a certificate of the future', { shown: createCertificate('server', { issuer: ca, names, days: [2, 9] }), roots: caFile }, ['CERT_NOT_YET_VALID', 'CERT_NOT_YET_VALID']],
  ['a certificate for clients', { shown: createCertificate('server', { issuer: ca, names, purpose: 'client' }), roots: caFile }, ['INVALID_PURPOSE', 'INVALID_PURPOSE']],
  ['a certificate for servers', { shown: createCertificate('server', { issuer: ca, names, purpose: 'server' }), roots: caFile }, [OK, OK]],
  ...[true, false].flatMap((isCa) => {
    const what = isCa ? 'a root in the place of a server' : 'a certificate signed by itself'
    const own = createCertificate('itself', { ca: isCa, names })
    const old = createCertificate('itself', { ca: isCa, names, days: [-9, -2] })
    const other = createCertificate('itself', { ca: isCa, names: ['other.example'] })
    const bare = createCertificate('itself', { ca: isCa })
    const alone = 'DEPTH_ZERO_SELF_SIGNED_CERT'
    return [
      [what, { shown: own, roots: caFile }, [alone, alone]],
      [`${what}, with the platform's roots`, { shown: own }, [alone, undefined]],
      [`${what} that is itself trusted`, { shown: own, roots: put(`own-${isCa}.pem`, own.pem) }, [OK, OK]],
      [`${what} that is itself trusted and has expired`, { shown: old, roots: put(`old-${isCa}.pem`, old.pem) }, ['CERT_HAS_EXPIRED', 'CERT_HAS_EXPIRED']],
      [`${what} that is itself trusted, by another name`, { shown: other, roots: put(`named-${isCa}.pem`, other.pem), toPg: [NAME, OK] }, [OK, OK]],
      [`${what} that is itself trusted, without a name`, { shown: bare, roots: put(`bare-${isCa}.pem`, bare.pem), toPg: [NAME, OK] }, [OK, OK]],
    ]
  }),
  ['an authority in between that is sent along', { shown: createCertificate('server', { issuer: between, names }), chain: [between], roots: caFile }, [OK, OK]],
  ['an authority in between that is missing', { shown: createCertificate('server', { issuer: between, names }), roots: caFile }, [UNKNOWN, UNKNOWN]],
  ['a whole chain of somebody else', { shown: createCertificate('server', { issuer: between, names }), chain: [between, ca], roots: otherCaFile }, ['SELF_SIGNED_CERT_IN_CHAIN', 'SELF_SIGNED_CERT_IN_CHAIN']],
  ['half a chain of somebody else', { shown: createCertificate('server', { issuer: between, names }), chain: [between], roots: otherCaFile }, ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY']],
  ['an authority in between that may sign nobody', { shown: createCertificate('server', { issuer: unfit, names }), chain: [unfit], roots: caFile }, ['INVALID_PURPOSE', 'INVALID_PURPOSE']],
  ['a certificate of a trusted one that may sign nobody', { shown: createCertificate('server', { issuer: unfitRoot, names }), roots: put('unfit.pem', unfitRoot.pem) }, ['INVALID_PURPOSE', 'INVALID_PURPOSE']],
  ['a certificate of an authority that has expired', { shown: createCertificate('server', { issuer: expiredCa, names }), roots: put('expired-ca.pem', expiredCa.pem) }, ['CERT_HAS_EXPIRED', 'CERT_HAS_EXPIRED']],
  ['a certificate of an authority of version 1', { shown: createCertificate('server', { issuer: oldCa, names }), roots: put('old-ca.pem', oldCa.pem) }, [OK, OK]],
  ['an RSA key', { shown: createCertificate('server', { issuer: ca, names, kind: 'rsa' }), roots: caFile }, [OK, OK]],
  ['an Ed25519 key', { shown: createCertificate('server', { issuer: ca, names, kind: 'ed25519' }), roots: caFile }, [OK, OK]],
  // Where rustls takes less than OpenSSL.
  ['a name as common name alone', { shown: createCertificate('localhost', { issuer: ca }), roots: caFile, toPg: [OK, OK] }, [NAME, OK]],
  ['version 1 of X.509', { shown: createCertificate('localhost', { issuer: ca, version: 1 }), roots: caFile, toPg: [OK, OK] }, ['ERR_TLS_CERT_UNSUPPORTED', 'ERR_TLS_CERT_UNSUPPORTED']],
  ['an authority in the place of a server', { shown: createCertificate('server', { issuer: ca, ca: true, names }), roots: caFile, toPg: [OK, OK] }, ['ERR_TLS_CERT_UNSUPPORTED', 'ERR_TLS_CERT_UNSUPPORTED']],
  ['version 1 of X.509 that is itself trusted', { shown: oldOne, roots: put('old-one.pem', oldOne.pem) }, [OK, OK]],
  ['version 1 of X.509 that is itself trusted and has expired', { shown: expiredOldOne, roots: put('expired-old-one.pem', expiredOldOne.pem) }, ['CERT_HAS_EXPIRED', 'CERT_HAS_EXPIRED']],
  ['one of several that are themselves trusted', { shown: oldOne, roots: put('old-bundle.pem', ca.pem + oldOne.pem) }, [OK, OK]],
  ['a certificate with the name and the key of a trusted one, but not the same', { shown: again, roots: put('old-one-again.pem', oldOne.pem) }, ['DEPTH_ZERO_SELF_SIGNED_CERT', 'DEPTH_ZERO_SELF_SIGNED_CERT']],
  ['version 1 of X.509, signed by itself', { shown: createCertificate('localhost', { version: 1 }), roots: caFile }, ['DEPTH_ZERO_SELF_SIGNED_CERT', 'DEPTH_ZERO_SELF_SIGNED_CERT']],
]

for (const [title, { shown, chain, roots, host, toPg }, [full, issuer]] of cases) {
  test(`the server shows ${title}`, async () => {
    await tls.rules(everybody)
    await tls.show(shown, keyPem(shown), chain)
    const modes = [
      ['verify-full', { sslmode: 'verify-full' }, full, 0],
      ['require', { sslmode: 'require' }, full, 0],
      ['verify-ca', { sslmode: 'verify-ca', uselibpqcompat: true }, issuer, 1],
      ['no-verify', { sslmode: 'no-verify' }, OK, undefined],
      ["libpq's prefer", { sslmode: 'prefer', uselibpqcompat: true }, OK, undefined],
    ]
    for (const [mode, parameters, expected, place] of modes) {
      if (expected === undefined) continue
      const string = tls.string({ ...parameters, ...(roots && { sslrootcert: roots }) }, { host })
      assert.equal(await outcome(string), expected, `ours, ${mode}`)
      assert.equal(await outcomeOfPg(string), toPg?.[place] ?? expected, `pg's, ${mode}`)
    }
  })
}

test('what it says of a certificate helps to mend it', async () => {
  const messageFor = async (shown) => {
    await tls.show(shown, keyPem(shown))
    const createMutex = advisoryLock(tls.string(trusting))
    const { message } = await createMutex('x').tryLock().then(assert.fail, (error) => error)
    await createMutex.close()
    return message
  }
  assert.match(await messageFor(createCertificate('localhost', { issuer: ca })), /subjectAltName.*common name/)
  assert.match(await messageFor(createCertificate('localhost', { issuer: ca, version: 1 })), /version 1.*version 3/)
  assert.match(await messageFor(createCertificate('x', { issuer: ca, names: ['other.example'] })), /other\.example.*localhost/)
})

test('connections are encrypted: the session, its twins that wait, and cancel requests', async () => {
  await tls.rules('hostssl all all all scram-sha-256')
  await tls.show(good, keyPem(good))
  const recorder = await startRecorder(tls.server.port)
  const createMutex = advisoryLock(tls.string(trusting, { port: recorder.port }))
  const other = advisoryLock(tls.string(trusting))
  const unlock = await other('secret name').lock()
  assert.equal(await createMutex('secret name').tryLock(), false)
  // Who holds nothing would wait on the one connection that it has.
  const kept = await createMutex('kept').lock()
  const stop = new AbortController()
  const wait = createMutex('secret name').lock({ signal: stop.signal })
  const stopped = assert.rejects(wait, { name: 'AbortError' })
  const waiting = () => tls.ask(`SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)
  await until(async () => (await waiting()) === 1, 'it waits')
  assert.deepEqual(new Set((await encryption()).map((row) => row.version)), new Set(['TLSv1.3']))
  stop.abort()
  await stopped
  await until(async () => recorder.sent.length >= 3 && (await waiting()) === 0, 'the cancel request has arrived')
  await kept()
  await createMutex.close()
  await unlock()
  await other.close()
  assert.ok(recorder.sent.length >= 3, `${recorder.sent.length} connections: a session, one that waits, a cancel request`)
  for (const bytes of recorder.sent) {
    // The request for TLS (80877103), then a TLS record of a handshake.
    assert.deepEqual([...bytes.subarray(0, 11)], [0, 0, 0, 8, 4, 210, 22, 47, 0x16, 3, 1])
    assert.ok(!bytes.includes('SELECT') && !bytes.includes('postgres') && !bytes.includes(Buffer.from([4, 210, 22, 46])))
    assert.ok(bytes.includes('localhost'), 'the server is told which name is meant')
  }
})

test('many locks at once, and their loss', async () => {
  const createMutex = advisoryLock(tls.string(trusting))
  const many = Array.from({ length: 3000 }, (_, index) => `many ${index}`)
  for (let round = 0; round < 3; round++) {
    const unlocks = await Promise.all(many.map((name) => createMutex(name).lock()))
    assert.equal(await tls.ask(`SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory'`), many.length)
    assert.ok((await Promise.all(unlocks.map((unlock) => unlock()))).every(Boolean))
  }
  const unlock = await createMutex('lost').lock()
  const lost = once(unlock.signal, 'abort')
  assert.equal(await tls.ask(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'`), true)
  await lost
  await assert.rejects(unlock(), (error) => error.code === 'ERR_LOCK_LOST' && error.cause.code === '57P01')
  assert.equal(await createMutex('lost').withLock(() => 'works'), 'works')
  await createMutex.close()
})

test('an address is no name to tell the server', async () => {
  const recorder = await startRecorder(tls.server.port)
  assert.equal(await outcome(tls.string(trusting, { host: '127.0.0.1', port: recorder.port })), OK)
  assert.ok(!recorder.sent[0].includes('127.0.0.1'))
})

test("the modes in the sense of libpq: authorities by a variable count as those of the string", async (context) => {
  await tls.rules(everybody)
  await tls.show(good, keyPem(good))
  context.after(() => delete process.env.PGSSLROOTCERT)
  for (const [roots, expected] of [[caFile, OK], [otherCaFile, UNKNOWN], [join(folder, 'none.pem'), 'ENOENT']]) {
    process.env.PGSSLROOTCERT = roots
    for (const sslmode of ['require', 'verify-ca']) {
      assert.equal(await outcome(tls.string({ sslmode, uselibpqcompat: true })), expected, `${sslmode} ${roots}`)
    }
  }
})

test('direct TLS does not ask', async () => {
  const recorder = await startRecorder(tls.server.port)
  const string = tls.string({ ...trusting, sslnegotiation: 'direct' }, { port: recorder.port })
  assert.equal(await outcome(string), OK)
  assert.equal(await outcomeOfPg(string), OK)
  assert.equal(recorder.sent.length, 2)
  for (const bytes of recorder.sent) {
    assert.equal(bytes[0], 0x16)
    assert.ok(bytes.includes('postgresql'), 'it names the protocol')
  }
})

test('direct TLS, and a server that does not say which protocol it speaks', async () => {
  await tls.rules(everybody)
  for (const [protocols, expected] of [[undefined, 'EPROTO'], [['postgresql'], OK], [['http/1.1'], 'EPROTO']]) {
    const meddler = await startMeddler(tls.server.port, good, keyPem(good), { direct: true, protocols })
    const string = tls.string({ ...trusting, sslnegotiation: 'direct', channel_binding: 'disable' }, { port: meddler.port })
    assert.equal(await outcome(string), expected, String(protocols))
  }
})

test('versions of TLS', async (context) => {
  await tls.rules(everybody)
  await tls.show(good, keyPem(good))
  const string = tls.string({ ...trusting, channel_binding: 'require' })
  context.after(() => tls.set({ ssl_min_protocol_version: 'TLSv1.2', ssl_max_protocol_version: '' }))
  for (const [most, expected] of [['TLSv1.2', OK], ['TLSv1.1', 'EPROTO']]) {
    await tls.set({ ssl_min_protocol_version: 'TLSv1', ssl_max_protocol_version: most })
    assert.equal(await outcome(string), expected)
    assert.equal(await outcomeOfPg(string), expected)
  }
  await tls.set({ ssl_min_protocol_version: 'TLSv1.2', ssl_max_protocol_version: 'TLSv1.2' })
  await tls.show(oldOne, keyPem(oldOne))
  assert.equal(await outcome(tls.string({ sslmode: 'verify-full', sslrootcert: put('old-one.pem', oldOne.pem) })), OK)
  assert.equal(await outcome(tls.string({ sslmode: 'no-verify' })), OK)
})

test('versions of TLS that the string asks for', async (context) => {
  await tls.rules(everybody)
  await tls.show(good, keyPem(good))
  const used = async (query) => {
    const createMutex = advisoryLock(tls.string({ ...trusting, ...query }))
    try {
      await createMutex('version').tryLock()
      return (await encryption())[0].version
    } catch (error) {
      return error.code
    } finally {
      await createMutex.close()
    }
  }
  assert.equal(await used({}), 'TLSv1.3')
  assert.equal(await used({ ssl_max_protocol_version: 'TLSv1.2' }), 'TLSv1.2')
  assert.equal(await used({ ssl_min_protocol_version: 'tlsv1.3' }), 'TLSv1.3')
  assert.equal(await used({ ssl_min_protocol_version: 'TLSv1.3', ssl_max_protocol_version: 'TLSv1.2' }), 'ERR_INVALID_CONNECTION_STRING')
  context.after(() => tls.set({ ssl_max_protocol_version: '' }))
  await tls.set({ ssl_max_protocol_version: 'TLSv1.2' })
  assert.equal(await used({}), 'TLSv1.2')
  assert.equal(await used({ ssl_min_protocol_version: 'TLSv1.3' }), 'EPROTO')
})

test('the name is not sent where the string says so', async () => {
  for (const [sslsni, isSent] of [[0, false], [1, true]]) {
    const recorder = await startRecorder(tls.server.port)
    assert.equal(await outcome(tls.string({ ...trusting, sslsni }, { port: recorder.port })), OK)
    assert.equal(recorder.sent[0].includes('localhost'), isSent)
  }
})

test('a plain client where TLS is a must', async () => {
  await tls.rules('hostssl all all all scram-sha-256')
  for (const sslmode of ['disable', '']) {
    const string = tls.string({ sslmode })
    assert.equal(await outcome(string), '28000')
    assert.equal(await outcomeOfPg(string), '28000')
  }
})

test('a unix socket needs no TLS, whatever the mode', async () => {
  const string = tls.string({ ...trusting, host: tls.server.socketDirectory })
  assert.equal(await outcome(string), OK)
})

test('a server without TLS is refused, and told nothing', async () => {
  await tls.rules(everybody)
  await tls.withoutTls()
  for (const sslmode of ['prefer', 'require', 'verify-full', 'no-verify']) {
    const string = tls.string({ sslmode, uselibpqcompat: sslmode !== 'no-verify' })
    assert.equal(await outcome(string), 'ERR_TLS_NOT_OFFERED', sslmode)
    assert.match(await outcomeOfPg(string), /does not support SSL/, sslmode)
  }
  const deaf = await startAnswering('N')
  assert.equal(await outcome(tls.string(trusting, { port: deaf.port })), 'ERR_TLS_NOT_OFFERED')
  assert.deepEqual(Buffer.concat(deaf.packets), Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
})

for (const [title, answer, code] of [
  ['an error', 'EFATAL\0', '08P01'],
  ['yes, and no TLS then', 'S', 'EPROTO'],
  ['yes, and more behind it', 'SR\0\0\0\u0008\0\0\0\0', 'EPROTO'],
]) {
  test(`a server that answers the request for TLS by ${title}`, async () => {
    const server = await startAnswering(answer)
    const string = tls.string(trusting, { port: server.port })
    assert.equal(await outcome(string), code)
    assert.ok(!Buffer.concat(server.packets).includes('user'), 'it is told nothing')
  })
}

// Whom the server trusts.

const clientCa = createCertificate('authority of clients', { ca: true })
const kinds = { rsa: ['pkcs1', 'pkcs8'], ec: ['sec1', 'pkcs8'], ed25519: ['pkcs8'] }
const clients = Object.keys(kinds).map((kind) => [kind, createCertificate('postgres', { issuer: clientCa, kind })])
const required = 'hostssl all all all scram-sha-256 clientcert=verify-full'
const identity = (certificate, key) => ({ ...trusting, sslcert: put('client.crt', certificate), sslkey: put('client.key', key) })

test('a client certificate is shown, with a key of each kind and form', async () => {
  await tls.show(good, keyPem(good), [], clientCa)
  await tls.rules(required)
  for (const [kind, client] of clients) {
    for (const form of kinds[kind]) {
      const string = tls.string(identity(client.pem, keyPem(client, form)))
      const createMutex = advisoryLock(string)
      assert.equal(await createMutex('identity').tryLock(), true, `${kind} ${form}`)
      assert.deepEqual(await encryption(), [{ ssl: true, version: 'TLSv1.3', client_dn: '/CN=postgres' }])
      await createMutex.close()
      assert.equal(await outcomeOfPg(string), OK)
    }
  }
})

test('a client certificate that comes with those between', async () => {
  const middle = createCertificate('between clients', { ca: true, issuer: clientCa })
  const client = createCertificate('postgres', { issuer: middle })
  assert.equal(await outcome(tls.string(identity(client.pem + middle.pem, keyPem(client)))), OK)
})

test('a client certificate is missing, is of another authority, or is of somebody else', async () => {
  await tls.rules(required)
  const missing = tls.string(trusting)
  assert.equal(await outcome(missing), '28000')
  assert.equal(await outcomeOfPg(missing), '28000')
  const nobody = createCertificate('nobody', { issuer: clientCa })
  const misnamed = tls.string(identity(nobody.pem, keyPem(nobody)))
  assert.equal(await outcome(misnamed), '28P01')
  assert.equal(await outcomeOfPg(misnamed), '28P01')
  const stranger = createCertificate('postgres', { issuer: otherCa })
  const strange = tls.string(identity(stranger.pem, keyPem(stranger)))
  assert.equal(await outcome(strange), 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA')
  assert.equal(await outcomeOfPg(strange), 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA')
  await tls.set({ ssl_max_protocol_version: 'TLSv1.2' })
  assert.equal(await outcome(strange), 'EPROTO')
  assert.equal(await outcomeOfPg(strange), 'EPROTO')
  await tls.set({ ssl_max_protocol_version: '' })
})

test('a server that does not ask for the client certificate, where it has to', async () => {
  const [[, client]] = clients
  const shown = { ...identity(client.pem, keyPem(client)), sslcertmode: 'require' }
  assert.equal(await outcome(tls.string(shown)), OK)
  for (const ssl_max_protocol_version of ['TLSv1.2', '']) {
    await tls.set({ ssl_max_protocol_version })
    await tls.rules(everybody)
    await tls.show(good, keyPem(good))
    assert.equal(await outcome(tls.string(shown)), 'ERR_TLS_IDENTITY_NOT_ASKED')
    assert.equal(await outcome(tls.string({ ...shown, sslcertmode: 'allow' })), OK)
    await tls.show(good, keyPem(good), [], clientCa)
    await tls.rules(required)
    assert.equal(await outcome(tls.string(shown)), OK)
    assert.equal(await outcome(tls.string({ ...shown, sslcertmode: 'disable' })), '28000')
  }
})

test('a key that others can read is refused, as libpq does', { skip: process.platform === 'win32' }, async () => {
  const [[, client]] = clients
  const string = tls.string(identity(client.pem, keyPem(client)))
  const { sslkey } = identity(client.pem, keyPem(client))
  const isRoot = process.getuid() === 0
  const owners = isRoot ? [0, (await stat(tls.server.socketDirectory)).uid] : [process.getuid()]
  for (const owner of owners) {
    if (isRoot) await chown(sslkey, owner, owner)
    for (const mode of [0o600, 0o400, 0o640, 0o604, 0o660, 0o644, 0o610]) {
      await chmod(sslkey, mode)
      const expected = mode === 0o600 || mode === 0o400 || (owner === 0 && mode === 0o640) ? OK : 'ERR_INVALID_CONNECTION_STRING'
      assert.equal(await outcome(string), expected, `${mode.toString(8)} of ${owner}`)
    }
  }
  const createMutex = advisoryLock(string)
  await assert.rejects(createMutex('exposed').tryLock(), (error) => error.message.includes(sslkey) && /0600/.test(error.message))
  await createMutex.close()
  await rm(sslkey)
})

test('what goes wrong is said in words', async (context) => {
  const messageOf = async (string) => {
    const createMutex = advisoryLock(string)
    const { message } = await createMutex('words').tryLock().then(assert.fail, (error) => error)
    await createMutex.close()
    return message
  }
  await tls.rules(everybody)
  const messages = []
  for (const shown of [
    createCertificate('localhost', { issuer: ca, names, hash: 'sha512' }),
    createCertificate('localhost', { issuer: ca, names, kind: 'p521' }),
    createCertificate('localhost', { issuer: createCertificate('weak', { ca: true, kind: 'p521' }), names }),
    createCertificate('localhost', { issuer: ca, names, critical: true }),
    createCertificate('localhost', { issuer: ca, ca: true, names }),
    createCertificate('localhost', { issuer: ca, version: 1 }),
  ]) {
    await tls.show(shown, keyPem(shown))
    messages.push(await messageOf(tls.string(trusting)))
  }
  await tls.show(good, keyPem(good), [], clientCa)
  await tls.rules(required)
  const stranger = createCertificate('postgres', { issuer: otherCa })
  const expired = createCertificate('postgres', { issuer: clientCa, days: [-9, -2] })
  context.after(() => tls.set({ ssl_min_protocol_version: 'TLSv1.2', ssl_max_protocol_version: '' }))
  for (const most of ['TLSv1.2', 'TLSv1.3']) {
    await tls.set({ ssl_max_protocol_version: most })
    for (const client of [stranger, expired]) messages.push(await messageOf(tls.string(identity(client.pem, keyPem(client)))))
  }
  await tls.set({ ssl_min_protocol_version: 'TLSv1', ssl_max_protocol_version: 'TLSv1.1' })
  messages.push(await messageOf(tls.string(trusting)))
  for (const message of messages) {
    const words = message.replaceAll(/TLS|OpenSSL|PostgreSQL|subjectAltName|X\.509|\(CN\)/g, '')
    assert.doesNotMatch(words, /[a-z][A-Z]|[A-Z]{2}|[{}[\]()_]|::/, message)
    assert.match(message, /^the server/)
  }
  assert.equal(new Set(messages).size, messages.length - 2, 'each has its own words, the same with either version')
})

test('files are read anew for each connection', async () => {
  await tls.rules(required)
  const [[, client]] = clients
  const stranger = createCertificate('postgres', { issuer: otherCa })
  const string = tls.string(identity(stranger.pem, keyPem(stranger)))
  const createMutex = advisoryLock(string)
  await assert.rejects(createMutex('renewed').tryLock(), { code: 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA' })
  identity(client.pem, keyPem(client))
  assert.equal(await createMutex('renewed').tryLock(), true)
  await createMutex.close()
})

test('files and words that cannot be used are named before anything is sent', async () => {
  const [[, client]] = clients
  const listener = await startAnswering()
  const encrypted = keyPem(client, 'pkcs8', { cipher: 'aes-256-cbc', passphrase: 'tell nobody' })
  const [certificate, key] = [put('good.crt', client.pem), put('good.key', keyPem(client))]
  for (const [parameters, code, message] of [
    [{ sslrootcert: join(folder, 'none.pem') }, 'ENOENT', /sslrootcert .*none\.pem/],
    [{ sslrootcert: folder }, /^(EISDIR|EIO)$/, /sslrootcert/],
    [{ sslrootcert: put('empty.pem', '') }, 'ERR_INVALID_CONNECTION_STRING', /sslrootcert .*empty\.pem/],
    [{ sslrootcert: put('damaged.pem', ca.pem.replace(/[A-Z]/, '*')) }, 'ERR_INVALID_CONNECTION_STRING', /sslrootcert/],
    [{ sslmode: 'no-verify', sslrootcert: join(folder, 'none.pem') }, 'ENOENT', /sslrootcert/],
    [{ sslcert: join(folder, 'none.crt'), sslkey: key }, 'ENOENT', /sslcert .*none\.crt/],
    [{ sslcert: key, sslkey: key }, 'ERR_INVALID_CONNECTION_STRING', /sslcert/],
    [{ sslcert: certificate, sslkey: join(folder, 'none.key') }, 'ENOENT', /sslkey .*none\.key/],
    [{ sslcert: certificate, sslkey: certificate }, 'ERR_INVALID_CONNECTION_STRING', /sslkey .*no private key/],
    [{ sslcert: certificate, sslkey: put('bad.key', keyPem(client).replace(/\n.*\n/, '\nAAAA\n')) }, 'ERR_INVALID_CONNECTION_STRING', /sslkey/],
    [{ sslcert: certificate, sslkey: put('encrypted.key', encrypted) }, 'ERR_INVALID_CONNECTION_STRING', /sslkey .*passphrase/],
    [{ sslcert: certificate, sslkey: put('other.key', keyPem(good)) }, 'ERR_INVALID_CONNECTION_STRING', /sslkey .*not the key/],
    [{ sslcert: certificate }, 'ERR_INVALID_CONNECTION_STRING', /sslkey/],
    [{ sslmode: 'verify' }, 'ERR_INVALID_CONNECTION_STRING', /sslmode/],
    [{ sslmode: 'disable', channel_binding: 'require' }, 'ERR_INVALID_CONNECTION_STRING', /channel_binding/],
    [{ channel_binding: 'perhaps' }, 'ERR_INVALID_CONNECTION_STRING', /channel_binding/],
    [{ sslnegotiation: 'perhaps' }, 'ERR_INVALID_CONNECTION_STRING', /sslnegotiation/],
    [{ target_session_attrs: 'perhaps' }, 'ERR_INVALID_CONNECTION_STRING', /target_session_attrs/],
    [{ ssl: 'perhaps', sslmode: '', sslrootcert: '' }, 'ERR_INVALID_CONNECTION_STRING', /ssl/],
    [{ port: 65_536 }, 'ERR_INVALID_CONNECTION_STRING', /port/],
    [{ port: `${listener.port},1` }, 'ERR_INVALID_CONNECTION_STRING', /port/],
    [{ connect_timeout: 'soon' }, 'ERR_INVALID_CONNECTION_STRING', /connect_timeout/],
    [{ statement_timeout: '5s' }, 'ERR_INVALID_CONNECTION_STRING', /statement_timeout/],
    [{ application_name: 'a\0b' }, 'ERR_INVALID_CONNECTION_STRING', /application_name/],
  ]) {
    const createMutex = advisoryLock(tls.string({ ...trusting, ...parameters }, { port: listener.port, secret: 'tell nobody' }))
    for (const method of ['lock', 'tryLock']) {
      const error = await createMutex('bad')[method]().then(assert.fail, (reason) => reason)
      assert.match(error.code, new RegExp(code))
      assert.match(error.message, message)
      assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /tell|PRIVATE KEY/)
    }
    await createMutex.close()
  }
  assert.equal(listener.connections(), 0)
})

test('files that begin with the mark of a byte order', async () => {
  await tls.rules(everybody)
  await tls.show(good, keyPem(good), [], clientCa)
  const [[, client]] = clients
  const marked = (text) => `\ufeff${text}`
  const files = { sslcert: put('marked.crt', marked(client.pem)), sslkey: put('marked.key', marked(keyPem(client))) }
  for (const [title, authorities] of [['one authority', ca.pem], ['the first of several', ca.pem + otherCa.pem]]) {
    const string = tls.string({ ...trusting, ...files, sslrootcert: put('marked.pem', marked(authorities)) })
    assert.equal(await outcome(string), OK, title)
    assert.equal(await outcomeOfPg(string), OK, `${title}, by pg`)
  }
  const { hostname: host, port, username: user, password } = new URL(tls.string())
  const login = { host, port: Number(port), user, password: decodeURIComponent(password), database: 'postgres' }
  const ssl = { ca: marked(ca.pem), cert: marked(client.pem), key: marked(keyPem(client)) }
  assert.equal(await outcome({ ...login, ssl }), OK)
  const marks = { NODE_EXTRA_CA_CERTS: put('marked-extra.pem', marked(ca.pem)) }
  assert.equal((await runChild('outcome', [tls.string({ sslmode: 'verify-full' })], { env: marks })).stdout.trim(), OK)
})

// Configuration objects, whose certificates are in no file.

test('`ssl` of a configuration object, as to pg', async () => {
  await tls.show(good, keyPem(good), [], clientCa)
  await tls.rules('hostssl all postgres all scram-sha-256', 'hostnossl all postgres all reject')
  const { host, port, username, password } = new URL(tls.string())
  const login = { host: host.split(':')[0], port: Number(port), user: username, password: decodeURIComponent(password), database: 'postgres' }
  const [[, rsa], [, ec], [, edwards]] = clients
  const shown = (certificate, more) => ({ ca: ca.pem, cert: certificate.pem, key: keyPem(certificate), ...more })
  const encrypted = keyPem(rsa, 'pkcs8', { cipher: 'aes-256-cbc', passphrase: 'open sesame' })
  for (const [title, ssl, expected, more] of [
    ['nothing', undefined, '28000'],
    ['no TLS', false, '28000'],
    ['the platform alone', true, UNKNOWN],
    ['the platform alone, by an object', {}, UNKNOWN],
    ['nobody verified', { rejectUnauthorized: false }, OK],
    ['by a word', 'no-verify', OK],
    ['the right authority', { ca: ca.pem }, OK],
    ['bytes', { ca: Buffer.from(ca.pem) }, OK],
    ['a view of bytes', { ca: new Uint8Array(Buffer.from(`12345${ca.pem}`)).subarray(5) }, OK],
    ['several', { ca: [otherCa.pem, Buffer.from(ca.pem)] }, OK],
    ['another authority', { ca: otherCa.pem }, UNKNOWN],
    ['another authority, and nobody verified', { ca: otherCa.pem, rejectUnauthorized: false }, OK],
    ['TLS 1.3', { ca: ca.pem, minVersion: 'TLSv1.3' }, OK],
    ['an RSA key', shown(rsa), OK],
    ['an EC key', shown(ec, { key: Buffer.from(keyPem(ec, 'sec1')) }), OK],
    ['an Ed25519 key', shown(edwards), OK],
    ['an encrypted key', shown(rsa, { key: encrypted, passphrase: 'open sesame' }), OK],
    ['an encrypted key in a list', shown(rsa, { key: [{ pem: encrypted, passphrase: 'open sesame' }] }), OK],
    ['a key that needs no passphrase', shown(rsa, { passphrase: 'open sesame' }), OK],
    ['a name for an address', { ca: ca.pem, servername: 'localhost' }, OK, { host: '127.0.0.1' }],
    ['a wrong name for an address', { ca: ca.pem, servername: 'other.example' }, NAME, { host: '127.0.0.1' }],
    ['a wrong name for an address, nobody verified', { rejectUnauthorized: false, servername: 'other.example' }, OK, { host: '127.0.0.1' }],
    ['a wrong name for a name, which counts', { ca: ca.pem, servername: 'other.example' }, OK],
    ['direct TLS', { ca: ca.pem }, OK, { sslnegotiation: 'direct' }],
    ['a string beside it', { ca: ca.pem }, OK, { connectionString: tls.string() }],
    ['a string that decides', { rejectUnauthorized: false }, UNKNOWN, { connectionString: tls.string({ sslmode: 'verify-full' }) }],
  ]) {
    const config = () => ({ ...login, ...(ssl !== undefined && { ssl: typeof ssl === 'object' ? { ...ssl } : ssl }), ...more })
    assert.equal(await outcome(config()), expected, title)
    assert.equal(await outcomeOfPg(config()), expected, `${title}, by pg`)
  }
})

test('certificates of an object that cannot be used are named, and a key is nowhere to be seen', async () => {
  const [[, client]] = clients
  const listener = await startAnswering()
  const key = keyPem(client)
  const encrypted = keyPem(client, 'pkcs8', { cipher: 'aes-256-cbc', passphrase: 'open sesame' })
  for (const [ssl, message] of [
    [{ ca: 'none' }, /^ssl\.ca cannot be used/],
    [{ ca: Buffer.from([0x30, 0x82]) }, /^ssl\.ca cannot be used/],
    [{ cert: key, key }, /^ssl\.cert cannot be used/],
    [{ cert: client.pem, key: client.pem }, /^ssl\.key cannot be used: .*no private key/],
    [{ cert: client.pem, key: keyPem(good) }, /^ssl\.key cannot be used: .*not the key/],
    [{ cert: client.pem, key: encrypted }, /^ssl\.key cannot be used: .*passphrase/],
    [{ cert: client.pem, key, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' }, /TLS 1\.2/],
  ]) {
    const createMutex = advisoryLock({ host: '127.0.0.1', port: listener.port, user: 'u', ssl })
    const error = await createMutex('bad').tryLock().then(assert.fail, (reason) => reason)
    assert.equal(error.code, 'ERR_INVALID_CONNECTION_STRING')
    assert.match(error.message, message)
    assert.ok(!inspect([error, createMutex], { depth: 9, showHidden: true }).includes('PRIVATE KEY'))
    await createMutex.close()
  }
  assert.equal(listener.connections(), 0)
  assert.throws(() => advisoryLock({ ssl: { cert: client.pem, key: encrypted, passphrase: 'close sesame' } }), (error) => {
    assert.equal(error.code, 'ERR_INVALID_ARG_VALUE')
    assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /PRIVATE KEY|sesame/)
    return true
  })
})

// Proofs of a password.

test('channel binding, with a certificate of each kind of signature', async () => {
  await tls.rules(everybody)
  const rsaCa = createCertificate('authority with RSA', { ca: true, kind: 'rsa' })
  const roots = put('rsa-ca.pem', rsaCa.pem)
  for (const issuer of [ca, rsaCa]) {
    for (const hash of ['sha256', 'sha384', 'sha512']) {
      const shown = createCertificate('server', { issuer, names, hash })
      await tls.show(shown, keyPem(shown))
      const string = tls.string({ ...trusting, sslrootcert: issuer === ca ? caFile : roots, channel_binding: 'require' })
      // rustls takes a signature with SHA-512 of an RSA key, and none of an EC key on P-256.
      const expected = issuer === ca && hash === 'sha512' ? 'ERR_TLS_CERT_UNSUPPORTED' : OK
      assert.equal(await outcome(string), expected, `${issuer.commonName} ${hash}`)
    }
  }
  // A signature without a hash of its own has nothing to bind to.
  const edwardsCa = createCertificate('authority with Ed25519', { ca: true, kind: 'ed25519' })
  const shown = createCertificate('server', { issuer: edwardsCa, names })
  await tls.show(shown, keyPem(shown))
  const edwards = { ...trusting, sslrootcert: put('edwards.pem', edwardsCa.pem) }
  assert.equal(await outcome(tls.string({ ...edwards, channel_binding: 'require' })), 'ERR_CHANNEL_BINDING')
  assert.equal(await outcome(tls.string(edwards)), OK)
})

test('somebody in between who passes the proof on is found out by the server', async () => {
  await tls.show(good, keyPem(good))
  const own = createCertificate('itself', { names })
  const meddler = await startMeddler(tls.server.port, own, keyPem(own))
  for (const channel_binding of ['require', 'prefer']) {
    const string = tls.string({ sslmode: 'no-verify', channel_binding }, { port: meddler.port })
    assert.equal(await outcome(string), '28000', channel_binding)
  }
  // He does pass it on: without the binding nobody notices him, nor does `pg`.
  const unbound = tls.string({ sslmode: 'no-verify', channel_binding: 'disable' }, { port: meddler.port })
  assert.equal(await outcome(unbound), OK)
  assert.equal(await outcomeOfPg(unbound), OK)
})

test('every way to ask for a password; channel binding where it is required', async () => {
  await tls.show(good, keyPem(good))
  await tls.admin.query(`SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'tell nobody'`)
  await tls.admin.query(`SET password_encryption = 'scram-sha-256'; CREATE ROLE plain LOGIN PASSWORD 'tell nobody'; CREATE ROLE welcome LOGIN`)
  await tls.rules('host all hashed all md5', 'host all plain all password', 'host all welcome all trust', everybody)
  for (const as of ['hashed', 'plain', 'welcome']) {
    const string = (query, secret = 'tell nobody') => tls.string(query, { as, secret })
    assert.equal(await outcome(string(trusting)), OK, as)
    assert.equal(await outcome(string({})), OK, `${as}, without TLS`)
    assert.equal(await outcome(string({ ...trusting, channel_binding: 'require' })), 'ERR_CHANNEL_BINDING', as)
    assert.equal(await outcome(string({ ...trusting, channel_binding: 'disable' })), OK, as)
    assert.equal(await outcome(string(trusting, 'wrong')), as === 'welcome' ? OK : '28P01', as)
  }
  assert.equal(await outcome(tls.string({ ...trusting, channel_binding: 'disable' })), OK)
  assert.equal(await outcome(tls.string({ ...trusting, channel_binding: 'require' }, { secret: 'wrong' })), '28P01')
})

test('transaction pooling is found out through TLS as well', async () => {
  const bouncer = await startPgBouncer(tls.string(), 'transaction', {
    client_tls_sslmode: 'require',
    client_tls_key_file: put('pooler.key', keyPem(good)),
    client_tls_cert_file: put('pooler.crt', good.pem),
  })
  after(bouncer.stop)
  const port = new URL(bouncer.connectionString).port
  assert.equal(await outcome(tls.string(trusting, { port })), 'ERR_TRANSACTION_POOLING')
  assert.equal(await tls.ask(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'`), '0')
})

test("the platform's roots count, and those of NODE_EXTRA_CA_CERTS", async () => {
  const string = tls.string({ sslmode: 'verify-full' })
  const run = async (env) => (await runChild('outcome', [string], { env })).stdout.trim()
  assert.equal(await run({}), UNKNOWN)
  assert.equal(await run({ NODE_EXTRA_CA_CERTS: bundle }), OK)
  assert.equal(await run({ NODE_EXTRA_CA_CERTS: otherCaFile }), UNKNOWN)
  assert.equal(await run({ NODE_EXTRA_CA_CERTS: join(folder, 'none.pem') }), UNKNOWN)
  // What names the platform's roots where they are files.
  if (process.platform === 'linux') assert.equal(await run({ SSL_CERT_FILE: caFile }), OK)
})
