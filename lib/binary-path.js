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

/** Where the binary with this name lies in a package of its own. */
const packagePathOf = (name) => resolve(`advisory-lock-native-${name}`)

/** Where it lies if it was built in this folder. */
const builtPathOf = (name) => resolve(`../advisory-lock-native.${name}.node`)

/** Where it lies: who has built one uses that. */
const pathOf = (name) => builtPathOf(name) ?? packagePathOf(name)

module.exports = { builtPathOf, packagePathOf, pathOf, resolve }
