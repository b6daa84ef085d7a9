const body = require('../body.cjs')

test('locks', () => body('jest 6'))
test('locks again', () => body('jest 6 again'))
