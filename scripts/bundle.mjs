// Puts the JavaScript of a package that has been laid out into one file, lib/bundle.js. Each file that is loaded costs a process
// about 0.3 ms and 0.1 MiB, and this package has many small ones.
//
// The lines stay what they are, each file in a function of its own; but for the words by which the files load each other. There is
// no bundler for this, as nothing of npm takes part in a release.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

const BUNDLE = 'lib/bundle.js'

/** The files that are loaded from outside, and the names that ES modules import from them. */
const entries = {
  'index.js': ['default', 'strToKey', 'AdvisoryLockError'],
  'v2.js': ['default', 'strToKey', 'AdvisoryLockError'],
  'lib/command/main.js': [],
}

/** A file of the package, be it code or the manifest. The package asks for others in no other way. */
const LOADED = /\brequire\('(\.[^']+\.(?:js|json))'\)/g

/** @param {string} folder with the whole package, its manifest too */
export function bundle(folder) {
  const parts = new Map()
  for (const path of Object.keys(entries)) addPart(folder, path, parts)
  rmSync(join(folder, 'lib'), { recursive: true })
  for (const [path, exported] of Object.entries(entries)) {
    mkdirSync(join(folder, dirname(path)), { recursive: true })
    writeFileSync(join(folder, path), standIn(path, exported))
  }
  writeFileSync(join(folder, BUNDLE), [HEAD, ...parts.values(), TAIL].join('\n'))
}

const HEAD = `'use strict'

// The files of this package in one, each in a function, which runs when the file is loaded first.

const files = {`

const TAIL = `}

const loaded = new Map()

function loadFile(path) {
  let module = loaded.get(path)
  if (module) return module.exports
  module = { exports: {} }
  files[path](module)
  // Not before it has come to its end: what fails is tried again.
  loaded.set(path, module)
  return module.exports
}

module.exports = loadFile
`

/** Adds a file and all that it loads. */
function addPart(folder, path, parts) {
  if (parts.has(path)) return
  const code = readFileSync(join(folder, path), 'utf8').replace(/^'use strict'\n/, '')
  if (code.includes('loadFile')) throw new Error(`${path} has a word that means something in the bundle: loadFile`)
  const loads = new Set()
  const changed = code.replace(LOADED, (_, other) => {
    const target = posix.join(posix.dirname(path), other)
    if (target.endsWith('.json')) return `require('${posix.relative(posix.dirname(BUNDLE), target)}')`
    loads.add(target)
    return `loadFile('${target}')`
  })
  parts.set(path, `'${path}'(module) {\n${changed}},\n`)
  for (const other of loads) addPart(folder, other, parts)
}

/** What is in the place of a file of the bundle. */
function standIn(path, exported) {
  const way = posix.relative(posix.dirname(path), BUNDLE)
  const lines = [`'use strict'`, '', `module.exports = require('${way.startsWith('.') ? way : `./${way}`}')('${path}')`]
  if (exported.length > 0) lines.push('// Told by name to ES modules, which look for them here.')
  for (const name of exported) lines.push(`module.exports.${name} = module.exports.${name}`)
  return `${lines.join('\n')}\n`
}
