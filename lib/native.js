'use strict'

// The native part; with NODE_DEBUG=advisory-lock one that tells what it is asked.

const binary = require('./binary.js')
const { isTracing } = require('./notices.js')

// Nothing of a trace is in the way where nobody wants one.
module.exports = isTracing ? require('./trace.js').traced(binary) : binary
