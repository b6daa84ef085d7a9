const body = require('../body.cjs')

test('locks', () => body('jest 4'))
test('locks again', () => body('jest 4 again'))
