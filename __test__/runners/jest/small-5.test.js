const body = require('../body.cjs')

test('locks', () => body('jest 5'))
test('locks again', () => body('jest 5 again'))
