import advisoryLock from 'advisory-lock-native'
import { test } from 'vitest'

test('the last act of a file is the first lock', () => {
  advisoryLock(process.env.PG_CONNECTION_STRING)(`vitest ${process.env.POOL} last`).lock()
})
