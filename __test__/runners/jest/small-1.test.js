const body = require('../body.cjs')

test('locks', () => body('jest 1'))
test('locks again', () => body('jest 1 again'))
