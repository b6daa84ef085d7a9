'use strict'

// Contract 1 under the name that it has in every version: the main entry of 2.x is contract 2. The public face of v1.d.ts.

module.exports = require('./index.js')
