const advisoryLock = require('advisory-lock-native')

test('a mutex is made, and nothing is asked of it', () => {
  const before = process.getActiveResourcesInfo()
  expect(typeof advisoryLock(process.env.PG_CONNECTION_STRING)('unused').lock).toBe('function')
  expect(process.getActiveResourcesInfo()).toEqual(before)
})
