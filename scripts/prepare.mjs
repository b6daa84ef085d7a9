// Makes a fresh clone ready: installs the development dependencies and builds the addon, each only where it is missing or
// stale. Uses nothing but Node.js itself, as nothing may be installed yet.
//
//   node scripts/prepare.mjs [dependencies | addon]

import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from './build.mjs'
import { LICENCES_FILE } from './licences.mjs'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

function run(command, parameters, options = {}) {
  const { status, signal, error } = spawnSync(command, parameters, { cwd: root, stdio: 'inherit', ...options })
  if (error?.code === 'ENOENT') throw new Error(`${command} is not installed or not on the PATH`)
  if (error) throw error
  if (status !== 0) throw new Error(`${command} ${parameters.join(' ')} failed (${signal ?? `status ${status}`})`)
}

/** What there is to prepare, in its order. */
const parts = { dependencies: install, addon: buildWhereStale }

export function prepare(names = Object.keys(parts)) {
  checkNode()
  for (const name of names) parts[name]()
}

export function checkNode() {
  const [major] = process.versions.node.split('.').map(Number)
  if (major < 20) throw new Error(`Node.js 20 or later is needed, this is ${process.version}`)
}

function install() {
  // npm writes this file when an install is complete.
  const installed = modified('node_modules/.package-lock.json')
  if (installed >= modified('package-lock.json')) return
  console.log('prepare: installing development dependencies')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  run(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { shell: process.platform === 'win32' })
}

function buildWhereStale() {
  const addons = readdirSync(root).filter((name) => name.endsWith('.node'))
  const built = Math.min(Math.max(0, ...addons.map(modified)), modified(LICENCES_FILE))
  const sources = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'scripts/build.mjs', 'scripts/licences.mjs', ...files('src')]
  if (built > Math.max(...sources.map(modified))) return
  console.log('prepare: building the addon (Rust, release profile)')
  if (spawnSync('cargo', ['--version'], { stdio: 'ignore' }).error) {
    throw new Error('cargo is needed to build the addon: install Rust 1.88 or later')
  }
  build()
}

function modified(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function files(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? files(path) : [path]
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    prepare(process.argv[2] ? [process.argv[2]] : undefined)
  } catch (error) {
    console.error(`prepare: ${error.message}`)
    process.exitCode = 1
  }
}
