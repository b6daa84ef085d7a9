import { test, vi } from 'vitest'

vi.useFakeTimers()
const { default: body } = await import('../body.cjs')

test('timers of a test, in place before the package is loaded', async () => {
  const name = `vitest ${process.env.POOL} fake`
  await body(name)
  vi.runAllTimers()
  await body(`${name} again`)
})
