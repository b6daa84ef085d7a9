import advisoryLock from 'advisory-lock-native'
import { expect, test } from 'vitest'
import body from '../body.cjs'

const name = `vitest ${process.env.POOL} 2`

test('locks', () => body(name))

test('locks by what was imported', async () => {
  const { lock, withLock } = advisoryLock(process.env.PG_CONNECTION_STRING)(`${name} imported`)
  expect(await withLock(() => 5)).toBe(5)
  await expect(lock({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' })
})
