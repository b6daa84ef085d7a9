'use strict'

// The native part, or an error that says what is missing and what to do about it.

const { isTracing } = require('./notices.js')

function load() {
  try {
    return require('../binding.js')
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
}

// Nothing of a trace is in the way where nobody wants one.
module.exports = isTracing ? require('./trace.js').traced(load()) : load()
