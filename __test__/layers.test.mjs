// Imports run downward only: each layer knows what is below it.

import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test } from 'node:test'

const root = new URL('../src/', import.meta.url)
const sources = readdirSync(root, { recursive: true })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.rs'))
  .map((path) => ({ path, code: readFileSync(new URL(path, root), 'utf8').replaceAll(/^\s*\/\/.*$/gm, '') }))

const mentions = (pattern) => sources.filter(({ code }) => pattern.test(code)).map(({ path }) => path)
const outside = (pattern, ...allowed) =>
  mentions(pattern).filter((path) => !allowed.some((place) => path === place || path.startsWith(place)))

test('every layer is there', () => {
  for (const place of ['core/', 'pg/', 'manager/', 'binding/', 'error.rs', 'lib.rs']) {
    assert.ok(sources.some(({ path }) => path.startsWith(place)), place)
  }
})

test('libraries stay in their layers', () => {
  assert.deepEqual(outside(/\bnapi/, 'binding/'), [])
  assert.deepEqual(outside(/\btokio_postgres\b/, 'pg/', 'error.rs'), [])
  assert.deepEqual(outside(/\b(rustls|tokio_rustls|rustls_native_certs|webpki|webpki_roots|x509_parser|ring)::/, 'pg/connect/tls/'), [])
  assert.deepEqual(outside(/\b(postgres_protocol|socket2|nix|dns_lookup)\b/, 'pg/'), [])
  assert.deepEqual(outside(/\brustix\b/, 'command/', 'pg/clock.rs'), [])
  assert.deepEqual(outside(/\btokio\b/, 'pg/', 'manager/', 'runtime.rs'), [])
})

test('no layer knows one above it', () => {
  const above = (layer, ...names) =>
    mentions(new RegExp(`crate::(\\{[^}]*\\b)?(${names.join('|')})\\b`)).filter((path) => path.startsWith(layer))
  assert.deepEqual(above('core/', 'error', 'pg', 'manager', 'runtime', 'binding'), [])
  assert.deepEqual(above('pg/', 'manager', 'runtime', 'binding'), [])
  assert.deepEqual(above('manager/', 'binding'), [])
  assert.deepEqual(above('command/', 'error', 'notice', 'core', 'pg', 'manager', 'runtime', 'binding'), [])
  assert.deepEqual(above('runtime.rs', 'core', 'pg', 'manager', 'binding'), [])
  assert.deepEqual(above('notice.rs', 'error', 'core', 'pg', 'manager', 'runtime', 'binding'), [])
  assert.deepEqual(above('error.rs', 'notice', 'core', 'pg', 'manager', 'runtime', 'binding'), [])
})

test('the lock table reads no clock', () => {
  assert.deepEqual(
    mentions(/\bInstant\b|SystemTime/).filter((path) => path.startsWith('core/')),
    [],
  )
})

test('no circle of JavaScript files', () => {
  const tree = new URL('../', import.meta.url)
  const scripts = readdirSync(tree, { recursive: false }).filter((name) => /^(index|v\d)\.js$/.test(name))
  for (const path of readdirSync(new URL('lib/', tree), { recursive: true })) {
    if (path.endsWith('.js')) scripts.push(`lib/${path.replaceAll('\\', '/')}`)
  }
  const loads = new Map(
    scripts.map((path) => {
      const url = new URL(path, tree)
      const names = [...readFileSync(url, 'utf8').matchAll(/require\('(\.[^']+\.js)'\)/g)]
      return [url.href, names.map(([, name]) => new URL(name, url).href)]
    }),
  )
  const finished = new Set()
  const visit = (href, above) => {
    assert.ok(!above.includes(href), `a circle: ${[...above, href].map((one) => one.slice(tree.href.length)).join(' → ')}`)
    if (finished.has(href)) return
    for (const next of loads.get(href) ?? []) visit(next, [...above, href])
    finished.add(href)
  }
  for (const href of loads.keys()) visit(href, [])
  assert.ok(finished.size > 20, 'files were looked at')
})
