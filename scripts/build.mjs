// Builds the addon for one target, with nothing but cargo and the locked crates, and writes beside it the licences of what
// is linked into it. No path of the machine that builds gets into the binary.
//
//   node scripts/build.mjs [--target <triple>] [--glibc <version>] [--output <folder>]
//
// With `--glibc`, and for musl, cargo-zigbuild links against that C library instead of the machine's own.

import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { neededGlibc, isAtMost } from './glibc.mjs'
import { LICENCES_FILE, licencesOf } from './licences.mjs'
import { binaryName, hostTarget, targets } from './targets.mjs'

const root = resolve(fileURLToPath(import.meta.url), '../..')

/**
 * @param {{ target?: string, glibc?: string, output?: string, isRelease?: boolean }} [options] the machine's own target, its own C
 *   library and the clone itself, unless they say otherwise; `isRelease`: the licences have to be complete
 * @returns {string} the path of the addon
 * @throws {Error} where cargo fails, or the addon needs a newer glibc than `glibc`
 */
export function build({ target = hostTarget(), glibc, output = root, isRelease = false } = {}) {
  // A target without a package has the name that its Node.js goes by, and works in the clone alone.
  const platform = targets[target]?.platform ?? `${process.platform}-${process.arch}`
  const addon = join(output, binaryName(platform))
  const library = compile(target, glibc)
  mkdirSync(output, { recursive: true })
  // A process that has loaded the old one keeps it.
  copyFileSync(library, `${addon}.new`)
  renameSync(`${addon}.new`, addon)
  writeFileSync(join(output, LICENCES_FILE), licencesOf(target, { isComplete: isRelease }))
  if (targets[target]?.libc === 'glibc') sayGlibc(addon, glibc)
  return addon
}

/** Runs cargo; the path of the library that it made. */
function compile(target, glibc) {
  const command = glibc || (target.endsWith('-musl') && target !== hostTarget()) ? 'zigbuild' : 'build'
  const parameters = [command, '--release', '--locked', '--lib', '--message-format=json-render-diagnostics']
  parameters.push('--target', glibc ? `${target}.${glibc}` : target)
  const env = { ...process.env, CARGO_ENCODED_RUSTFLAGS: flagsOfRust(target).join('\x1f'), CFLAGS: flagsOfC(target).join(' ') }
  const options = { cwd: root, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 }
  const { status, stdout, error } = spawnSync('cargo', parameters, options)
  if (error) throw error
  if (status !== 0) throw new Error(`cargo ${command} failed (status ${status})`)
  const made = stdout.split('\n').flatMap((line) => {
    const { reason, target: { crate_types: types } = {}, filenames } = line.startsWith('{') ? JSON.parse(line) : {}
    return reason === 'compiler-artifact' && types.includes('cdylib') ? filenames : []
  })
  return made.find((path) => /\.(so|dylib|dll)$/.test(path))
}

/** The flags for rustc, behind the caller's own: cargo reads the variable of the highest rank alone. */
function flagsOfRust(target) {
  const { CARGO_ENCODED_RUSTFLAGS: encoded, RUSTFLAGS: plain = '' } = process.env
  const flags = encoded ? encoded.split('\x1f') : plain.split(' ').filter(Boolean)
  // An addon is loaded into a program that has its C library already; on Windows that one has kept it for itself.
  if (target.endsWith('-musl')) flags.push('-Ctarget-feature=-crt-static')
  if (target.endsWith('-msvc')) flags.push('-Ctarget-feature=+crt-static')
  return [...flags, ...localPaths().map(([path, name]) => `--remap-path-prefix=${path}=${name}`)]
}

/** The flags for the C and the assembly in the crates. What they say of paths is stripped with the symbols; a build may keep those. */
function flagsOfC(target) {
  const flags = [process.env.CFLAGS ?? '']
  if (target.endsWith('-msvc')) return flags
  // The compiler cuts its flags at blanks.
  const paths = localPaths().filter(([path]) => !path.includes(' '))
  return [...flags, ...paths.map(([path, name]) => `-ffile-prefix-map=${path}=${name}`)]
}

/** Folders of this machine whose paths would be written into the binary, and what is written instead. The last match counts. */
export function localPaths() {
  const home = homedir()
  const sysroot = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim()
  return [
    [home, 'home'],
    [process.env.CARGO_HOME || join(home, '.cargo'), 'cargo'],
    [sysroot, 'rust'],
    [root, 'advisory-lock-native'],
  ].filter(([path]) => path && resolve(path) !== resolve('/'))
}

/** Says what the addon needs, which is an error where that is more than `wanted`. */
function sayGlibc(addon, wanted) {
  if (!wanted) return console.log(`build: for machines like this one: ${ownNeeds(addon)} (the binaries of a release need 2.28)`)
  const needed = neededGlibc(addon)
  if (!isAtMost(needed, wanted)) throw new Error(`${addon} needs glibc ${needed}, more than ${wanted}`)
  console.log(`build: the addon needs glibc ${needed} or later`)
}

/** What an addon needs that is linked against this machine's own C library. */
function ownNeeds(addon) {
  try {
    return `the addon needs glibc ${neededGlibc(addon)} or later`
  } catch (error) {
    // Nobody needs to have binutils to build for this machine.
    if (error.code !== 'ENOENT') throw error
    return 'the addon needs a glibc as new as the one here; readelf could tell'
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = { target: { type: 'string' }, glibc: { type: 'string' }, output: { type: 'string' } }
  try {
    build({ ...parseArgs({ options }).values, isRelease: true })
  } catch (error) {
    console.error(`build: ${error.message}`)
    process.exitCode = 1
  }
}
