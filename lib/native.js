'use strict'

// The native part, or an error that says what is missing and what to do about it.

const { isTracing } = require('./notices.js')

/** Where it can be expected; the generated loader, which weighs every platform there is, takes as long as all the rest. */
const binaries = {
  'linux x64': ['linux-x64-gnu', 'linux-x64-musl'],
  'linux arm64': ['linux-arm64-gnu', 'linux-arm64-musl'],
  'darwin x64': ['darwin-x64'],
  'darwin arm64': ['darwin-arm64'],
  'win32 x64': ['win32-x64-msvc'],
}[`${process.platform} ${process.arch}`]

function load() {
  for (const name of binaries ?? []) {
    for (const path of [`../advisory-lock-native.${name}.node`, `advisory-lock-native-${name}`]) {
      try {
        return require(path)
      } catch {
        // Not there, or for another C library.
      }
    }
  }
  return require('../binding.js')
}

try {
  // Nothing of a trace is in the way where nobody wants one.
  module.exports = isTracing ? require('./trace.js').traced(load()) : load()
} catch (cause) {
  const error = new Error(
    `advisory-lock-native has no binary for ${process.platform} ${process.arch} here. The binaries are optional ` +
      'dependencies, so install without --omit=optional where there is one for this platform (Linux x64 and arm64, ' +
      'macOS x64 and arm64, Windows x64). Elsewhere build it: in a clone of the sources, with Rust installed, run ' +
      '`npm run build`, then `npm install <path of the clone>` in your project.',
    { cause },
  )
  error.code = 'ERR_NO_BINARY'
  throw error
}
