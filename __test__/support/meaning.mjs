// What a connection string or a configuration object means: to this package, and to `pg`.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import ConnectionParameters from 'pg/lib/connection-parameters.js'
import { toConnection } from '../../lib/connection.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const WINDOW = 'pg::connect::config::tests::dump_meanings::tell_what_strings_mean'

/**
 * What this package makes of strings and objects, `[{ text, object, variables }]`. The core's test program tells, not the addon,
 * which has no way to give a password away.
 */
export function meanings(all) {
  const cases = all.map(({ text, object, variables }) => {
    const { connectionString, fields, passwordFunction, ...tls } = toConnection(object ?? text).description
    return { text: connectionString, fields, passwordFunction, tls, variables }
  })
  const folder = mkdtempSync(join(tmpdir(), 'advisory-lock-strings-'))
  try {
    const file = join(folder, 'cases.json')
    writeFileSync(file, JSON.stringify(cases))
    const parameters = ['test', '--quiet', '--lib', '--', '--ignored', '--exact', WINDOW]
    execFileSync('cargo', parameters, { cwd: root, stdio: 'pipe', env: { ...process.env, ADVISORY_LOCK_CASES: file } })
    return JSON.parse(readFileSync(file, 'utf8'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The same by `pg`: its own parser and its ConnectionParameters. */
export function meaningToPg({ text, object = { connectionString: text }, variables = {} }) {
  const saved = { ...process.env }
  const { user } = pg.defaults
  for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name]
  Object.assign(process.env, variables)
  pg.defaults.user = variables.USER
  try {
    const parameters = new ConnectionParameters(object)
    return {
      hosts: [[parameters.host, parameters.port]],
      user: parameters.user,
      password: typeof parameters.password === 'function' ? null : parameters.password,
      asksForPassword: typeof parameters.password === 'function',
      database: parameters.database,
      applicationName: parameters.application_name || parameters.fallback_application_name || 'advisory-lock-native',
      options: parameters.options ?? null,
      timeouts: Object.fromEntries(
        ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout']
          .filter((name) => parameters[name])
          .map((name) => [name, String(parseInt(parameters[name], 10))]),
      ),
      tls: toPolicy(parameters.ssl, parameters.sslnegotiation),
    }
  } catch (error) {
    return { error }
  } finally {
    for (const name of Object.keys(process.env)) if (!(name in saved)) delete process.env[name]
    Object.assign(process.env, saved)
    pg.defaults.user = user
  }
}

function toPolicy(ssl, negotiation) {
  if (!ssl) return null
  const { rejectUnauthorized, checkServerIdentity, ca, cert, key, servername = null } = ssl
  const trust = rejectUnauthorized === false ? 'nothing' : checkServerIdentity ? 'issuer' : 'name'
  const text = (pem) => (pem ? [pem].flat().join('\n') : null)
  return { trust, roots: text(ca), certificate: text(cert), key: text(key), servername, direct: negotiation === 'direct' }
}

/** The same of this package's meaning: contents for paths, and the time limits among the options. */
export function comparable({ hosts, user, password, asksForPassword, database, applicationName, options, tls }) {
  const timeouts = {}
  const rest = options?.replaceAll(/ ?-c (\w+_timeout)=(\d+)/g, (_, name, value) => {
    timeouts[name] = value
    return ''
  })
  const content = (pem) => pem && (pem.text ?? readFileSync(pem.path, 'utf8'))
  const texts = tls && { roots: content(tls.roots), certificate: content(tls.certificate), key: content(tls.key) }
  return { hosts, user, password, asksForPassword, database, applicationName, options: rest || null, timeouts, tls: tls && { ...tls, ...texts } }
}
