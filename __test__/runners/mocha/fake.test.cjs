const sinon = require('sinon')

// All that can be replaced, the ticks and microtasks among it.
const all = [
  ...['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'clearImmediate'],
  ...['Date', 'performance', 'nextTick', 'queueMicrotask'],
]
const clock = sinon.useFakeTimers({ toFake: all })
const body = require('../body.cjs')
const loadedUnderFakes = body('mocha fake').then(() => {
  clock.runAll()
  return body('mocha fake again')
})
clock.restore()

it('timers of a test, in place before the package is loaded', () => loadedUnderFakes)

it('timers of a test, in place for the calls', async () => {
  const later = sinon.useFakeTimers({ toFake: all })
  try {
    await body('mocha fake calls')
    later.runAll()
    await body('mocha fake calls again')
  } finally {
    later.restore()
  }
})
