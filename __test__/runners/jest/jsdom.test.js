/** @jest-environment jsdom */
const body = require('../body.cjs')

test('timers are numbers, signals those of a document', async () => {
  const timer = setInterval(() => {}, 60_000)
  expect(typeof timer).toBe('number')
  clearInterval(timer)
  await body('jest jsdom')
})
