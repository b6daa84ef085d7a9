// Certificates of the tests' own: good ones, and each of the ways in which one can be bad (RFC 5280).

import { X509Certificate, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { isIP } from 'node:net'

const element = (tag, ...contents) => {
  const content = Buffer.concat(contents)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...contents) => element(0x30, ...contents)
const oid = (hex) => element(0x06, Buffer.from(hex, 'hex'))
const nothing = element(0x05)
const yes = element(0x01, Buffer.from([0xff]))
const bits = (content) => element(0x03, Buffer.from([0]), content)
const bytes = (content) => element(0x04, content)
const time = (date) => element(0x18, Buffer.from(`${date.toISOString().replaceAll(/[-:T]|\..*/g, '')}Z`))
const name = (commonName) => sequence(element(0x31, sequence(oid('550403'), element(0x0c, Buffer.from(commonName)))))

const RSA_SHA = { sha256: '2a864886f70d01010b', sha384: '2a864886f70d01010c', sha512: '2a864886f70d01010d' }
const ECDSA_SHA = { sha256: '2a8648ce3d040302', sha384: '2a8648ce3d040303', sha512: '2a8648ce3d040304' }
const SERVER_AUTH = '2b06010505070301'
const CLIENT_AUTH = '2b06010505070302'

function algorithm({ asymmetricKeyType }, hash) {
  if (asymmetricKeyType === 'ed25519') return sequence(oid('2b6570'))
  if (asymmetricKeyType === 'rsa') return sequence(oid(RSA_SHA[hash]), nothing)
  return sequence(oid(ECDSA_SHA[hash]))
}

function alternativeName(text) {
  const kind = isIP(text)
  if (!kind) return element(0x82, Buffer.from(text))
  return element(0x87, kind === 4 ? Buffer.from(text.split('.').map(Number)) : Buffer.from([...Array(15).fill(0), 1]))
}

const KEYS = {
  ec: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ed25519: () => generateKeyPairSync('ed25519'),
  p521: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
}

const DAY = 24 * 3600 * 1000
const daysFromNow = (days) => new Date(Date.now() + days * DAY)

/**
 * Makes a certificate.
 *
 * @param {string} commonName whom it is for
 * @param {object} [options]
 * @param {object} [options.issuer] the certificate that signs it, as made here; itself unless given
 * @param {string[]} [options.names] host names and addresses (of IPv6 only `::1`), as subjectAltName
 * @param {boolean} [options.ca] whether it may sign others
 * @param {'server' | 'client'} [options.purpose] the only one
 * @param {'ec' | 'rsa' | 'ed25519' | 'p521'} [options.kind] of the key
 * @param {'sha256' | 'sha384' | 'sha512'} [options.hash] of the signature
 * @param {[number, number]} [options.days] from when to when, counted from today
 * @param {1 | 3} [options.version] of X.509
 * @param {boolean} [options.critical] whether it has an extension that must be understood, and nobody knows
 * @param {{ privateKey: object }} [options.keys] a certificate whose key it has as well
 */
export function createCertificate(commonName, options = {}) {
  const { issuer, names = [], ca = false, purpose, kind = 'ec', hash = 'sha256', days = [-1, 1], version = 3, critical, keys } = options
  const { publicKey, privateKey } = keys ? { publicKey: createPublicKey(keys.privateKey), privateKey: keys.privateKey } : KEYS[kind]()
  const signer = issuer ?? { commonName, privateKey }
  const signature = algorithm(signer.privateKey, hash)
  const extensions = [sequence(oid('551d13'), yes, bytes(sequence(...(ca ? [yes] : []))))]
  if (names.length > 0) extensions.push(sequence(oid('551d11'), bytes(sequence(...names.map(alternativeName)))))
  if (purpose) extensions.push(sequence(oid('551d25'), bytes(sequence(oid(purpose === 'server' ? SERVER_AUTH : CLIENT_AUTH)))))
  if (critical) extensions.push(sequence(oid('2a0304'), yes, bytes(nothing)))
  const body = sequence(
    ...(version === 3 ? [element(0xa0, element(0x02, Buffer.from([2])))] : []),
    element(0x02, Buffer.from([1]), randomBytes(8)),
    signature,
    name(signer.commonName),
    sequence(...days.map((day) => time(daysFromNow(day)))),
    name(commonName),
    publicKey.export({ type: 'spki', format: 'der' }),
    ...(version === 3 ? [element(0xa3, sequence(...extensions))] : []),
  )
  const hashed = signer.privateKey.asymmetricKeyType === 'ed25519' ? null : hash
  const der = sequence(body, signature, bits(sign(hashed, body, signer.privateKey)))
  return { commonName, privateKey, pem: new X509Certificate(der).toString() }
}

/** The private key as PEM: PKCS#8, or the form of its own kind (`pkcs1`, `sec1`). */
export const keyPem = ({ privateKey }, type = 'pkcs8', more = {}) => privateKey.export({ type, format: 'pem', ...more })
