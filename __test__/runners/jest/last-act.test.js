const advisoryLock = require('advisory-lock-native')

test('the last act of a file is the first lock', () => {
  const createMutex = advisoryLock(process.env.PG_CONNECTION_STRING)
  createMutex('jest last').lock()
  createMutex('jest last limited').lock({ timeout: 60_000, signal: new AbortController().signal })
  createMutex('jest last scoped').withLock(() => 5, {})
  createMutex('jest last').holders()
})
