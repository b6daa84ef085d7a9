'use strict'

const { createRequire } = require('node:module')

/** The path of a file as `require` of this package would find it; `undefined`: it does not. */
function resolve(request) {
  try {
    return createRequire(__filename).resolve(request)
  } catch {
    // Not there; or this file is part of a bundle.
    return undefined
  }
}

/** Where the binary with this name lies: in a package of its own, or where it was built. */
const pathOf = (name) => resolve(`advisory-lock-native-${name}`) ?? resolve(`../advisory-lock-native.${name}.node`)

module.exports = { pathOf, resolve }
