const body = require('../body.cjs')

test('locks', () => body('jest 3'))
test('locks again', () => body('jest 3 again'))
