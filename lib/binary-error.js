'use strict'

// Why there is no binary, found out from facts: who forbids it, what lies where it should be, what that was made for.

const { readFileSync, realpathSync } = require('node:fs')
const { dirname } = require('node:path')
const { pathOf, resolve } = require('./binary-path.js')
const { readElf } = require('./elf.js')
const { AdvisoryLockError } = require('./errors.js')

const NAMES = ['linux-x64-gnu', 'linux-x64-musl', 'linux-arm64-gnu', 'linux-arm64-musl', 'darwin-x64', 'darwin-arm64', 'win32-x64-msvc']
const REINSTALL = 'remove node_modules and install again'
const BUILD = 'in a clone of the sources, with Rust installed, run `npm run build`, then `npm install <path of the clone>` in your project'
const here = `${process.platform} ${process.arch}`

/**
 * The error for a binary that was not found or cannot be loaded.
 *
 * @param {string | undefined} name of the binary for this platform
 * @param {Error} [cause] what came of loading it; none: it was not found
 */
function loadError(name, cause) {
  if (!cause) return new AdvisoryLockError({ code: 'ERR_NO_BINARY', message: whyNotFound(name) })
  const path = pathOf(name)
  const reason = whatForbids(cause) ?? (path && whatIsWrongWith(path)) ?? `the binary cannot be loaded: ${cause.message}`
  return new AdvisoryLockError({ code: 'ERR_BINARY_NOT_LOADED', message: reason }, cause)
}

function whyNotFound(name) {
  if (!name) {
    return (
      `there is no binary of advisory-lock-native for ${here}, only for Linux x64 and arm64, macOS x64 and arm64, Windows x64. ` +
      `Build one: ${BUILD}.`
    )
  }
  const manifest = resolve(`advisory-lock-native-${name}/package.json`)
  if (manifest) return `the binary is missing in ${dirname(manifest)}: the installation is incomplete, so ${REINSTALL}.`
  const others = NAMES.filter((other) => resolve(`advisory-lock-native-${other}/package.json`))
  if (others.length > 0) {
    return (
      `node_modules has the binary of advisory-lock-native for ${others.join(', ')}, and this is ${name}: it was installed on another ` +
      'platform, or by a lock file that was. Install it on this one; if npm leaves the binary out all the same ' +
      `(https://github.com/npm/cli/issues/4828), remove package-lock.json and node_modules first.`
    )
  }
  return (
    `the binary of advisory-lock-native for ${here} is not installed. It is an optional dependency, advisory-lock-native-${name}: ` +
    'install without --omit=optional; if npm leaves it out all the same (https://github.com/npm/cli/issues/4828), remove ' +
    `package-lock.json and node_modules and install again. In a bundle, see to it that the binary is taken along or is left outside. To build one: ${BUILD}.`
  )
}

/** Who does not allow addons, or this one. */
function whatForbids(cause) {
  if (cause.code === 'ERR_DLOPEN_DISABLED') {
    return process.permission
      ? 'Node.js runs with --permission, which forbids native addons: start it with --allow-addons as well.'
      : 'Node.js runs with --no-addons, which forbids native addons: start it without.'
  }
  if (cause.code === 'ERR_ACCESS_DENIED') {
    return `Node.js runs with --permission, which forbids ${cause.permission} of ${cause.resource}: allow it.`
  }
  if (globalThis.Deno && cause.name === 'NotCapable') {
    return 'Deno runs without a permission that native addons need: start it with --allow-ffi --allow-env --allow-read.'
  }
  if (cause.code === 'ERR_UNKNOWN_BUILTIN_MODULE') {
    return (
      'a single executable application finds only what is built into Node.js: leave advisory-lock-native outside of it, beside the executable, ' +
      "and load it with require('node:module').createRequire(process.execPath)('advisory-lock-native')."
    )
  }
  return undefined
}

function whatIsWrongWith(path) {
  const content = readFileSync(path)
  const elf = readElf(content)
  if (process.platform === 'linux' && !elf) return `${path} is damaged, or is for another platform than ${here}: ${REINSTALL}.`
  if (!elf) return undefined
  if (elf.end > content.length) return `${path} is cut off: it has ${content.length} of at least ${elf.end} bytes. Free some room if the disk is full, ${REINSTALL}.`
  if (elf.arch !== process.arch) return `${path} is for ${elf.arch}, and this is ${here}: ${REINSTALL}, on this platform.`
  if (isOnNoexec(path)) return `${path} lies on a file system that is mounted with noexec: move node_modules to another one, or mount it without.`
  const [needed, present] = [glibcNeeded(content), process.report?.getReport?.().header.glibcVersionRuntime]
  if (needed && !present) return `${path} is for the C library glibc, and this system has another one: ${REINSTALL}, on this system.`
  if (needed && compareVersions(needed, present) > 0) {
    return `the C library of this system is too old: the binary needs glibc ${needed}, and this is ${present}. Use a newer system, or build one: ${BUILD}.`
  }
  return undefined
}

/** The newest glibc of which the binary uses something. */
function glibcNeeded(content) {
  const versions = [...content.toString('latin1').matchAll(/\0GLIBC_(\d+\.\d+)/g)].map(([, version]) => version)
  return versions.sort(compareVersions).pop()
}

function compareVersions(one, two) {
  const [[major, minor], [otherMajor, otherMinor]] = [one, two].map((version) => version.split('.').map(Number))
  return major - otherMajor || minor - otherMinor
}

/** Whether programs may not be run from where the file lies. */
function isOnNoexec(path) {
  let mounts
  try {
    mounts = readFileSync('/proc/self/mountinfo', 'utf8')
  } catch {
    return false
  }
  const real = realpathSync(path)
  let closest = { place: '', options: '' }
  for (const line of mounts.split('\n')) {
    const [, , , , escaped, options] = line.split(' ')
    const place = escaped?.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)))
    const isAbove = place !== undefined && (real === place || real.startsWith(place.endsWith('/') ? place : `${place}/`))
    // Of mounts at one place the last counts.
    if (isAbove && place.length >= closest.place.length) closest = { place, options }
  }
  return closest.options.split(',').includes('noexec')
}

module.exports = { loadError }
