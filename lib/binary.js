'use strict'

// The binary for this platform, or an error that says why there is none.

const { closeSync, fstatSync, openSync, readSync } = require('node:fs')
const { createRequire } = require('node:module')
const { readElf } = require('./elf.js')
const { builtPathOf, packagePathOf, resolve } = require('./binary-path.js')

/** Of the binary for this platform; `undefined` where there is none. */
function nameOfBinary() {
  switch (`${process.platform} ${process.arch}`) {
    case 'linux x64':
      return usesMusl() ? 'linux-x64-musl' : 'linux-x64-gnu'
    case 'linux arm64':
      return usesMusl() ? 'linux-arm64-musl' : 'linux-arm64-gnu'
    case 'darwin x64':
      return 'darwin-x64'
    case 'darwin arm64':
      return 'darwin-arm64'
    case 'win32 x64':
      return 'win32-x64-msvc'
    default:
      return undefined
  }
}

/** The head of a file, and its size; where it may not be read, an empty one. */
function headOf(path) {
  const head = Buffer.alloc(4096)
  let file
  try {
    file = openSync(path, 'r')
    return { head: head.subarray(0, readSync(file, head)), size: fstatSync(file).size }
  } catch {
    return { head: head.subarray(0, 0), size: 0 }
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** Whether this very program runs on musl, as in Alpine: its file names the loader that it wants. */
const usesMusl = () => headOf(process.execPath).head.includes('/ld-musl-')

/** Whether the binary is shorter than it says: to load it would end the process, by SIGBUS. */
function isCutOff(path) {
  const { head, size } = headOf(path)
  return readElf(head)?.end > size
}

// Each name is written out, once a line and inside of `try`: so bundlers see what to take along, and which may be missing.

/** The binary as users get it. */
function fromPackage(name) {
  try {
    switch (name) {
      case 'linux-x64-gnu':
        return require('advisory-lock-native-linux-x64-gnu')
      case 'linux-x64-musl':
        return require('advisory-lock-native-linux-x64-musl')
      case 'linux-arm64-gnu':
        return require('advisory-lock-native-linux-arm64-gnu')
      case 'linux-arm64-musl':
        return require('advisory-lock-native-linux-arm64-musl')
      case 'darwin-x64':
        return require('advisory-lock-native-darwin-x64')
      case 'darwin-arm64':
        return require('advisory-lock-native-darwin-arm64')
      case 'win32-x64-msvc':
        return require('advisory-lock-native-win32-x64-msvc')
    }
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error
  }
  return undefined
}

/** The binary that was built in this folder. */
function fromBuild(name) {
  try {
    switch (name) {
      case 'linux-x64-gnu':
        return require('../advisory-lock-native.linux-x64-gnu.node')
      case 'linux-x64-musl':
        return require('../advisory-lock-native.linux-x64-musl.node')
      case 'linux-arm64-gnu':
        return require('../advisory-lock-native.linux-arm64-gnu.node')
      case 'linux-arm64-musl':
        return require('../advisory-lock-native.linux-arm64-musl.node')
      case 'darwin-x64':
        return require('../advisory-lock-native.darwin-x64.node')
      case 'darwin-arm64':
        return require('../advisory-lock-native.darwin-arm64.node')
      case 'win32-x64-msvc':
        return require('../advisory-lock-native.win32-x64-msvc.node')
    }
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error
  }
  return undefined
}

/** The binary that was built in this folder on a platform without a package. Its path is no literal: no bundler looks for it. */
function fromBuildElsewhere() {
  const path = resolve(`../advisory-lock-native.${process.platform}-${process.arch}.node`)
  return path && createRequire(__filename)(path)
}

function load() {
  const name = nameOfBinary()
  // To look for a file in vain takes longer than to load it: it is looked for in one place only, if it is found there.
  const built = name && builtPathOf(name)
  const path = built ?? (name && packagePathOf(name))
  if (path && isCutOff(path)) throw loadError(name, new Error('file too short'))
  let binary
  try {
    if (!name) binary = fromBuildElsewhere()
    else binary = (built ? undefined : fromPackage(name)) ?? fromBuild(name)
  } catch (cause) {
    throw loadError(name, cause)
  }
  if (!binary) throw loadError(name)
  return binary
}

/** Loaded only where it is needed, which is here or never. */
const loadError = (name, cause) => require('./binary-error.js').loadError(name, cause)

module.exports = load()
