const body = require('../body.cjs')

test('locks', () => body('jest 2'))
test('locks again', () => body('jest 2 again'))
