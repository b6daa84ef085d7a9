'use strict'
// Preloaded before the tests that ship with advisory-lock@2.0.0: the package root that they import is `/v2`.

const Module = require('node:module')
const { dirname, join } = require('node:path')

const tests = join(dirname(require.resolve('advisory-lock')), 'test')
const subject = require.resolve('../../v2.js')
let redirected = false
const resolve = Module._resolveFilename

Module._resolveFilename = function (request, parent, ...rest) {
  if (request === '../' && parent && dirname(parent.filename) === tests) {
    redirected = true
    return subject
  }
  return resolve.call(this, request, parent, ...rest)
}

process.on('exit', () => {
  if (redirected) return
  console.error('the tests have not imported the package root')
  process.exitCode = 1
})
