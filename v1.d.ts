import contract1 = require('./index.js')

/** The interface of `advisory-lock` 1.x, in every version of this package: in 1.x the main entry is the same. */
export = contract1
