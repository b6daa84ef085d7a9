// The licences of what is linked into the addon beside the project's own code: the crates and Rust's standard library, each with
// the texts and copyright notices that it comes with. Whatever contains the binary contains this file.

import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(fileURLToPath(import.meta.url), '../..')

/** The file's name, beside the binary. */
export const LICENCES_FILE = 'THIRD-PARTY-LICENSES.txt'

/** What a file's name says of the licence in it. */
const NAMED_LICENCES = {
  APACHE: 'Apache-2.0',
  BOOST: 'BSL-1.0',
  ISC: 'ISC',
  MIT: 'MIT',
  UNICODE: 'Unicode-3.0',
  UNLICENSE: 'Unlicense',
  ZLIB: 'Zlib',
}

/** @typedef {{ name: string, version: string, licence: string, files: { name: string, text: string }[], authors: string[] }} Part */

/**
 * The text of the file for one target.
 *
 * @param {string} target
 * @param {{ isComplete?: boolean }} [options] whether Rust's standard library may not be left out, where the compiler came without
 *   its papers, as a Linux distribution's may
 * @throws {Error} where a part has neither a licence's text nor the MIT licence, whose text is known
 */
export function licencesOf(target, { isComplete = false } = {}) {
  const parts = [...linkedCrates(target), ...standardLibrary(target, isComplete)]
  const sharers = new Map()
  for (const part of parts) {
    for (const text of textsOf(part)) {
      if (!sharers.has(text)) sharers.set(text, [])
      sharers.get(text).push(`${part.name} ${part.version}`)
    }
  }
  const list = parts.map(({ name, version, licence }) => `${name} ${version}: ${licence}\n`).join('')
  const texts = [...sharers].map(([text, names]) => `${'='.repeat(80)}\n${names.join(', ')}\n${'-'.repeat(80)}\n${text}\n`).join('\n')
  return `What is linked into advisory-lock-native for ${target} beside its own code:\n\n${list}\n${texts}`
}

/** The crates whose code is in the addon: what the package depends on, directly or not, other than to build or to test. */
function linkedCrates(target) {
  const parameters = ['metadata', '--locked', '--format-version=1', `--filter-platform=${target}`]
  const output = execFileSync('cargo', parameters, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] })
  const { packages, resolve: graph } = JSON.parse(output)
  const crates = new Map(packages.map((crate) => [crate.id, crate]))
  const dependencies = new Map(graph.nodes.map(({ id, deps }) => [id, deps]))
  const isMacro = ({ targets }) => targets.some(({ kind }) => kind.includes('proc-macro'))
  const linked = new Set([graph.root])
  for (const id of linked) {
    for (const { pkg, dep_kinds: kinds } of dependencies.get(id)) {
      if (kinds.some(({ kind }) => kind === null) && !isMacro(crates.get(pkg))) linked.add(pkg)
    }
  }
  linked.delete(graph.root)
  return [...linked].map((id) => toPart(crates.get(id))).sort((a, b) => a.name.localeCompare(b.name, 'en'))
}

function toPart({ name, version, license, authors, manifest_path: manifest }) {
  const folder = dirname(manifest)
  const files = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && /^(un)?licen[cs]e|^copy(ing|right)|^notice/i.test(entry.name))
    .map((entry) => ({ name: entry.name, text: readFileSync(join(folder, entry.name), 'utf8') }))
  return { name, version, licence: license, files, authors }
}

/** Rust's standard library and the crates in it, by the page about them that comes with the compiler. */
function standardLibrary(target, isComplete) {
  const rustc = (...parameters) => execFileSync('rustc', parameters, { encoding: 'utf8' }).trim()
  const sysroot = rustc('--print', 'sysroot')
  const documents = join(sysroot, 'share/doc/rust')
  const read = (name) => readFileSync(join(documents, name), 'utf8')
  const version = /^rustc (\S+)/.exec(rustc('--version'))[1]
  try {
    const own = { name: "Rust's standard library", version, licence: 'MIT OR Apache-2.0', authors: ['The Rust Project Developers'] }
    const files = [{ name: 'LICENSE-MIT', text: read('licenses/MIT.txt') }, { name: 'LICENSE-UNICODE', text: read('licenses/Unicode-3.0.txt') }]
    // The page lists the crates of all targets.
    const libraries = readdirSync(join(sysroot, 'lib/rustlib', target, 'lib'))
    const isThere = ({ name }) => libraries.some((file) => file.startsWith(`lib${name.replaceAll('-', '_')}-`))
    const crates = cratesOnPage(read('COPYRIGHT-library.html')).filter(isThere)
    return [{ ...own, licence: `(${own.licence}) AND Unicode-3.0`, files }, ...crates]
  } catch (error) {
    if (error.code !== 'ENOENT' || isComplete) throw error
    console.warn(`licences: those of Rust's standard library are left out, as there is no ${error.path}`)
    return []
  }
}

/** The parts that the page lists as crates: each under a heading with its licence and the texts of its files. */
function cratesOnPage(page) {
  const entities = { amp: '&', lt: '<', gt: '>', quot: '"' }
  const toText = (html) => html.replace(/&(?:#(\d+)|(\w+));/g, (_, code, name) => (code ? String.fromCodePoint(code) : entities[name]))
  return page
    .split('<h3>')
    .slice(1)
    .map((section) => {
      const [, name, version] = /([\w-]+?)-(\d[^<]*)<\/h3>/.exec(section)
      const licence = toText(/<b>License:<\/b> ([^<]*)/.exec(section)[1])
      const files = [...section.matchAll(/<code>([^<]*)<\/code><\/summary>\s*<pre>([^<]*)/g)].map(([, file, text]) => ({ name: file, text: toText(text) }))
      return { name, version, licence, files, authors: [toText(/<b>Authors:<\/b> ([^<]*)/.exec(section)?.[1] ?? '')].filter(Boolean) }
    })
}

/** The texts that apply to a part: of licences to choose from, those of one. */
function textsOf({ name, licence, files, authors }) {
  const chosen = choose(licence)
  const applies = (file) => {
    const word = Object.keys(NAMED_LICENCES).find((key) => new RegExp(`(^|[-_.])${key}([-_.]|$)`, 'i').test(file.name))
    return word === undefined || chosen.includes(NAMED_LICENCES[word])
  }
  const texts = files.filter(applies).map(({ text }) => text.replaceAll('\r\n', '\n').trim())
  if (texts.length > 0) return texts
  if (!chosen.includes('MIT')) throw new Error(`the crate ${name} comes without the text of its licence (${licence})`)
  const [, terms] = readFileSync(join(root, 'LICENSE'), 'utf8').split(/^Copyright .*\n/m)
  return [`Copyright (c) ${authors.join(', ') || `the authors of ${name}`}\n${terms}`.trim()]
}

/** The licences of an expression, the MIT licence where there is a choice with it, else the first. */
function choose(expression = '') {
  return expression
    .replaceAll('/', ' OR ')
    .replace(/\(([^()]*)\)/g, (_, choice) => choose(choice).join(' AND '))
    .split(' AND ')
    .flatMap((part) => {
      const choices = part.split(' OR ')
      return choices.includes('MIT') ? ['MIT'] : choices.slice(0, 1)
    })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(licencesOf(process.argv[2]))
