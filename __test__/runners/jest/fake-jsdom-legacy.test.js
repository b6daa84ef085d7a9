/** @jest-environment jsdom */
jest.useFakeTimers({ legacyFakeTimers: true })
const body = require('../body.cjs')

test('timers of a test, in place before the package is loaded', async () => {
  await body('jest fake jsdom legacy')
  jest.runAllTimers()
  jest.runAllTicks()
  await body('jest fake jsdom legacy again')
})

test('a time limit passes with them', async () => {
  const advisoryLock = require('advisory-lock-native')
  const [one, two] = [1, 2].map(() => advisoryLock(process.env.PG_CONNECTION_STRING)('jest limit jsdom legacy'))
  const unlock = await one.lock()
  const over = expect(two.lock({ timeout: 60_000 })).rejects.toMatchObject({ code: 'ERR_LOCK_TIMEOUT' })
  jest.runAllTimers()
  await over
  await unlock()
})
