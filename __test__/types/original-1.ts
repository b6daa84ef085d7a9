// The examples of the documentation of advisory-lock 1.x, which had no typings, in the words of a TypeScript caller.

import advisoryLock from 'advisory-lock-native'

const getMutex = advisoryLock('postgres://user:pass@localhost:3475/dbname')
const { withLock, tryLock, lock, unlock } = getMutex('test-lock')

const doSomething = (): Promise<void> => Promise.resolve()

export function examples(): void {
  // "blocks" until lock is free
  void withLock(() => doSomething()).then(() => {
    // lock is released now
  })

  void tryLock().then((obtainedLock) => {
    if (obtainedLock) {
      return doSomething().then(() => unlock())
    }
    throw new Error('failed to obtain lock')
  })

  void lock()
    .then(() => doSomething())
    .catch((error: Error) => console.error(error.message))
    .then(() => unlock())
    .then(() => getMutex.client.end())
}
