const body = require('../body.cjs')

it('locks', () => body('mocha 1'))
