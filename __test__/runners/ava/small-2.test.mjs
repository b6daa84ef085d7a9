import test from 'ava'
import body from '../body.cjs'

test('locks', (t) => t.notThrowsAsync(body('ava 2')))
test('locks beside it', (t) => t.notThrowsAsync(body('ava 2 beside')))
