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

test('no function of the boundary ends the process by a bug', () => {
  const functions = sources.flatMap(({ path, code }) =>
    [...code.matchAll(/#\[napi(\([^)]*\))?\]\s*(?:#\[[^\n]*\]\s*)*pub fn (\w+)/g)].map(([, how, name]) => ({ path, how, name })),
  )
  assert.ok(functions.length > 25, 'functions were looked at')
  const uncaught = functions.filter(({ how }) => !how?.includes('catch_unwind'))
  assert.deepEqual(uncaught.map(({ path, name }) => `${path}: ${name}`), [])
})

/** What a `use` names, each by its whole path: `a::{b, c::d}` is `a::b` and `a::c::d`. */
function pathsOf(tree) {
  const open = tree.indexOf('{')
  if (open < 0) return [tree.trim()]
  const parts = ['']
  let depth = 0
  for (const letter of tree.slice(open + 1, tree.lastIndexOf('}'))) {
    if (letter === '{') depth++
    if (letter === '}') depth--
    if (letter === ',' && depth === 0) parts.push('')
    else parts[parts.length - 1] += letter
  }
  const prefix = tree.slice(0, open).trim()
  return parts.filter((part) => part.trim()).flatMap((part) => pathsOf(part).map((path) => prefix + path))
}

/** The names of the module that a file is. */
const moduleOf = (path) =>
  path
    .replace(/(^|\/)(mod|lib)\.rs$/, '')
    .replace(/\.rs$/, '')
    .split('/')
    .filter(Boolean)

/** The files whose items a file names; that it declares a module is no reason to know it. */
function filesNamedBy({ path, code }, files) {
  const here = moduleOf(path)
  // A test within a file may know what it likes.
  const own = code.replace(/^mod tests \{[^]*/m, '').replaceAll(/pub\(in [^)]*\)/g, 'pub')
  const children = new Set([...own.matchAll(/\bmod (\w+);/g)].map(([, name]) => name))
  const uses = [...own.matchAll(/\buse ([^;]+);/g)].flatMap(([, tree]) => pathsOf(tree))
  const inside = [...own.replaceAll(/\buse [^;]+;/g, '').matchAll(/(?<![\w:])\w+(?:::\w+)+/g)].map(([name]) => name)
  const named = new Set()
  for (const name of [...uses, ...inside]) {
    const rest = name.split('::').map((part) => part.trim().split(' ')[0])
    let at = here
    if (rest[0] === 'crate') [at] = [[], rest.shift()]
    else if (rest[0] === 'super') while (rest[0] === 'super') [at] = [at.slice(0, -1), rest.shift()]
    else if (!children.has(rest[0])) continue
    while (rest.length > 0 && files.has([...at, rest[0]].join('::'))) at = [...at, rest.shift()]
    const file = files.get(at.join('::'))
    if (file && file !== path) named.add(file)
  }
  return [...named]
}

/** Fails where a way leads from a file back to it. */
function assertNoCircle(graph, describe = (file) => file) {
  const finished = new Set()
  const visit = (file, above) => {
    assert.ok(!above.includes(file), `a circle: ${[...above.slice(above.indexOf(file)), file].map(describe).join(' → ')}`)
    if (finished.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...above, file])
    finished.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  assert.ok(finished.size > 20, 'files were looked at')
}

test('no circle of Rust files', () => {
  const files = new Map(sources.map(({ path }) => [moduleOf(path).join('::'), path]))
  assertNoCircle(new Map(sources.map((source) => [source.path, filesNamedBy(source, files)])))
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
  assertNoCircle(loads, (href) => href.slice(tree.href.length))
})
