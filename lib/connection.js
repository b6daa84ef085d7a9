'use strict'

// The first argument of `advisoryLock`: a connection string, or a configuration object as `new pg.Client(…)` takes it. It is
// read once, when it is given, and each field once; nothing of it is kept but the function that gives the password.

const { invalidType, invalidValue, outOfRange } = require('./errors.js')
const { register } = require('./passwords.js')

/** What is in the way of a session: the native part makes its connections itself. */
const UNSUPPORTED = ['stream', 'connection']
const TEXTS = ['host', 'user', 'database', 'application_name', 'fallback_application_name', 'options', 'sslnegotiation', 'client_encoding']
const NUMBERS = ['port', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout']
/** Checked, and of no other meaning here. */
const IDLE_NUMBERS = ['query_timeout', 'keepAliveInitialDelayMillis']
const IDLE_BOOLEANS = ['keepAlive', 'enableChannelBinding']
const HANDLED = new Set([...UNSUPPORTED, ...TEXTS, ...NUMBERS, ...IDLE_NUMBERS, ...IDLE_BOOLEANS, 'connectionString', 'password', 'ssl', 'connectionTimeoutMillis'])

const SSL_FIELDS = ['ca', 'cert', 'key', 'passphrase', 'rejectUnauthorized', 'servername', 'minVersion', 'maxVersion']

/** A limit that never passes: `pg` has none where it is 0. */
const NO_LIMIT = 2 ** 31 - 1

/**
 * Takes the argument apart into what the core reads ({@link native.Connection}).
 *
 * @returns {{ description: object, password?: Function, desk?: object, connectTimeout?: number }}
 */
function toConnection(value = '') {
  if (typeof value === 'string') return { description: { connectionString: value, fields: [] } }
  // Not a promise, a `URL`, a boxed string and the like, whose fields say nothing or something else.
  const kind = Object.prototype.toString.call(value)
  if (kind !== '[object Object]' && kind !== '[object Module]') {
    throw invalidType('connectionString', 'a string or a configuration object', value)
  }
  return fromObject(value)
}

function fromObject(config) {
  for (const name of UNSUPPORTED) {
    if (isGiven(config[name])) throw invalidValue(`config.${name} is not supported: connections are made by the native part`)
  }
  for (const name of IDLE_NUMBERS) toNumber(name, config[name])
  for (const name of IDLE_BOOLEANS) toBoolean(`config.${name}`, config[name])
  const connectionString = toText('config.connectionString', config.connectionString) ?? ''
  const fields = []
  const add = (name, value) => value !== undefined && fields.push([name, value])
  for (const name of TEXTS) add(name, toText(`config.${name}`, config[name]))
  for (const name of NUMBERS) add(name, toNumber(name, config[name]))
  // Parameters of libpq's, as in a string; others are ignored.
  for (const name in config) if (!HANDLED.has(name)) add(name, toParameter(config[name]))
  const { password, desk, passwordFunction } = readPassword(config.password, add)
  const ssl = readSsl(config.ssl, add)
  return {
    description: { connectionString, fields, passwordFunction, ...ssl },
    password,
    desk,
    connectTimeout: readConnectTimeout(config.connectionTimeoutMillis),
  }
}

function readPassword(password, add) {
  if (typeof password === 'function') {
    const { number, desk } = register(password)
    return { password, desk, passwordFunction: number }
  }
  if (isGiven(password) && typeof password !== 'string') throw invalidType('config.password', 'a string or a function', password)
  add('password', password || undefined)
  return {}
}

function readConnectTimeout(value) {
  const text = toNumber('connectionTimeoutMillis', value)
  if (text === undefined) return value === 0 ? NO_LIMIT : undefined
  const milliseconds = Number(text)
  if (Number.isNaN(milliseconds)) throw invalidType('config.connectionTimeoutMillis', 'a number of milliseconds', value)
  if (milliseconds < 1) throw outOfRange('config.connectionTimeoutMillis', `a number of milliseconds, 1 or more, or 0 for no limit, got ${milliseconds}`)
  return Math.min(Math.ceil(milliseconds), NO_LIMIT)
}

function readSsl(ssl, add) {
  if (ssl === undefined) return {}
  if (!ssl || ssl === true || ssl === 'true' || ssl === 'no-verify') {
    add('ssl', ssl === 'no-verify' ? ssl : String(Boolean(ssl)))
    return {}
  }
  if (typeof ssl !== 'object' || Array.isArray(ssl) || ArrayBuffer.isView(ssl)) throw invalidType('config.ssl', 'a boolean or an object', ssl)
  for (const name in ssl) {
    if (!SSL_FIELDS.includes(name) && ssl[name] !== undefined) {
      const why = 'the native part speaks TLS itself, and not by what Node.js has for it'
      throw invalidValue(`config.ssl.${name} is not supported: ${why}; there is ${SSL_FIELDS.join(', ')}`)
    }
  }
  const { ca, cert, key, passphrase, rejectUnauthorized, servername, minVersion, maxVersion } = ssl
  add('ssl', toBoolean('config.ssl.rejectUnauthorized', rejectUnauthorized) === false ? 'no-verify' : 'true')
  add('ssl_min_protocol_version', toText('config.ssl.minVersion', minVersion))
  add('ssl_max_protocol_version', toText('config.ssl.maxVersion', maxVersion))
  const secret = toText('config.ssl.passphrase', passphrase)
  const texts = {
    ca: toPem('config.ssl.ca', ca),
    cert: toPem('config.ssl.cert', cert),
    key: toKeyPem('config.ssl.key', key, secret),
    servername: toText('config.ssl.servername', servername),
  }
  if ((texts.cert === undefined) !== (texts.key === undefined)) {
    const [there, missing] = texts.cert === undefined ? ['key', 'cert'] : ['cert', 'key']
    throw invalidValue(`config.ssl.${there} needs config.ssl.${missing} beside it`)
  }
  return texts
}

/** As to `pg`, what is false, zero or empty says nothing. */
const isGiven = (value) => Boolean(value)

function toText(argument, value) {
  if (!isGiven(value)) return undefined
  if (typeof value !== 'string') throw invalidType(argument, 'a string', value)
  return value
}

/** A number, which may be written in a string, as text. */
function toNumber(name, value) {
  if (!isGiven(value)) return undefined
  if (typeof value !== 'number' && typeof value !== 'string') throw invalidType(`config.${name}`, 'a number', value)
  return String(value)
}

function toBoolean(argument, value) {
  if (value !== undefined && value !== null && typeof value !== 'boolean') throw invalidType(argument, 'a boolean', value)
  return value
}

function toParameter(value) {
  return ['string', 'number', 'boolean'].includes(typeof value) ? String(value) : undefined
}

/** Text in the form of PEM: a string or bytes, or several of them. */
function toPem(argument, value) {
  if (!isGiven(value)) return undefined
  const all = Array.isArray(value) ? Array.from(value) : [value]
  if (all.length === 0) throw invalidType(argument, PEM, value)
  return all.map((one) => toPemText(argument, one)).join('\n')
}

const PEM = 'PEM in a string or a Buffer, or a list of these'

function toPemText(argument, value) {
  if (typeof value === 'string') return value
  if (!ArrayBuffer.isView(value)) throw invalidType(argument, PEM, value)
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8')
}

/** A key, which may be encrypted by a passphrase. */
function toKeyPem(argument, value, passphrase) {
  if (!isGiven(value)) return undefined
  const [one, ...more] = Array.isArray(value) ? Array.from(value) : [value]
  if (more.length > 0) throw invalidType(argument, 'one key', value)
  const isObject = typeof one === 'object' && one !== null && !ArrayBuffer.isView(one)
  const text = toPemText(argument, isObject ? one.pem : one)
  const secret = isObject ? toText(`${argument}.passphrase`, one.passphrase) ?? passphrase : passphrase
  if (secret === undefined) return text
  // It takes as long to load as all the rest, and few need it. Whoever calls is told what goes wrong.
  const { createPrivateKey } = require('node:crypto')
  try {
    return createPrivateKey({ key: text, passphrase: secret }).export({ type: 'pkcs8', format: 'pem' })
  } catch (cause) {
    throw invalidValue(`${argument} cannot be read with config.ssl.passphrase`, { cause })
  }
}

module.exports = { toConnection }
