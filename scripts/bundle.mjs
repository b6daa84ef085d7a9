// Puts the JavaScript of a package that has been laid out into two files: what is loaded with it, and what the commands have
// besides. Each file that is loaded costs a process about 0.3 ms and 0.1 MiB, and this package has many small ones.
//
// The lines stay what they are, each file in a function of its own; but for the words by which the files load each other. There is
// no bundler for this, as nothing of npm takes part in a release.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

const LIBRARY = 'lib/bundle.js'
const COMMANDS = 'lib/command/main.js'
/** The files that users load, and the names that ES modules import from them. */
const ENTRIES = { 'index.js': ['default', 'strToKey', 'AdvisoryLockError'], 'v2.js': ['default', 'strToKey', 'AdvisoryLockError'] }

/** A file of the package, be it code or the manifest. The package asks for others in no other way. */
const LOADED = /\brequire\('(\.[^']+\.(?:js|json))'\)/g

/** @param {string} folder with the whole package, its manifest too */
export function bundle(folder) {
  const library = filesFrom(folder, Object.keys(ENTRIES))
  const commands = filesFrom(folder, [COMMANDS])
  for (const path of library.keys()) commands.delete(path)
  rmSync(join(folder, 'lib'), { recursive: true })
  mkdirSync(join(folder, dirname(COMMANDS)), { recursive: true })
  writeFileSync(join(folder, LIBRARY), inOne(library, LIBRARY, 'throw new Error(`no such file: ${path}`)', 'loadFile'))
  const otherwise = `return require('${wayTo(LIBRARY, COMMANDS)}')(path)`
  writeFileSync(join(folder, COMMANDS), inOne(commands, COMMANDS, otherwise, `loadFile('${COMMANDS}')`))
  for (const [path, names] of Object.entries(ENTRIES)) writeFileSync(join(folder, path), standIn(path, names))
}

/** The code of these files and of all that they load, by their paths in the package. */
function filesFrom(folder, paths) {
  const files = new Map()
  const add = (path) => {
    if (files.has(path)) return
    const code = readFileSync(join(folder, path), 'utf8')
    if (code.includes('loadFile')) throw new Error(`${path} has a word that means something in the bundle: loadFile`)
    files.set(path, code)
    for (const [, other] of code.matchAll(LOADED)) if (other.endsWith('.js')) add(pathOf(other, path))
  }
  paths.forEach(add)
  return files
}

/** Files in one, which lies at `place`. `otherwise`: what becomes of a path that is none of theirs. */
function inOne(files, place, otherwise, exported) {
  const parts = Array.from(files, ([path, code]) => {
    const changed = code.replace(/^'use strict'\n/, '').replace(LOADED, (_, other) => {
      const target = pathOf(other, path)
      return target.endsWith('.json') ? `require('${wayTo(target, place)}')` : `loadFile('${target}')`
    })
    return `'${path}'(module) {\n${changed}},\n`
  })
  return `'use strict'

// Files of this package in one, each in a function, which runs when the file is loaded first.

const files = {

${parts.join('\n')}
}

const loaded = new Map()

function loadFile(path) {
  const known = loaded.get(path)
  if (known) return known.exports
  if (!files[path]) ${otherwise}
  const module = { exports: {} }
  files[path](module)
  // Not before it has come to its end: what fails is tried again.
  loaded.set(path, module)
  return module.exports
}

module.exports = ${exported}
`
}

/** What is in the place of a file that users load. */
function standIn(path, names) {
  const told = names.map((name) => `module.exports.${name} = module.exports.${name}\n`).join('')
  return `'use strict'

module.exports = require('${wayTo(LIBRARY, path)}')('${path}')
// Told by name to ES modules, which look for them here.
${told}`
}

/** The path in the package of what the file at `path` calls `other`. */
const pathOf = (other, path) => posix.join(posix.dirname(path), other)

/** What the file at `place` calls the file at `path`. */
function wayTo(path, place) {
  const way = posix.relative(posix.dirname(place), path)
  return way.startsWith('.') ? way : `./${way}`
}
