// A caller who typed against the typings of advisory-lock 2.0.0, on whose import `/v2` takes its place, and the example of
// its README. Compiled against both.

import advisoryLock, { strToKey } from 'advisory-lock'

type CreateMutex = ReturnType<typeof advisoryLock>
type Lock = ReturnType<CreateMutex>
type Unlock = Awaited<ReturnType<Lock['lock']>>
type WithLock = Lock['withLock']
type Critical = Parameters<WithLock>[0]

/** What such a caller asks of a lock. */
interface Locking {
  lock: () => Promise<() => Promise<void>>
  unlock: () => Promise<void>
  tryLock: () => Promise<(() => Promise<void>) | undefined>
  withLock: (fn: () => Promise<unknown>) => Promise<unknown>
}

const connect: (conString: string) => (lockName: string) => Locking = advisoryLock
const createMutex: CreateMutex = advisoryLock('postgres://user:pass@localhost:3475/dbname')
const mutex: Lock = createMutex('some-lock-name')
const key: [number, number] = strToKey('some-lock-name')

class Scheduler {
  private release: Unlock | undefined
  constructor(private readonly lock: Locking = connect('')('scheduler')) {}

  async run(job: Critical): Promise<void> {
    await this.lock.withLock(job)
    const unlock: (() => Promise<void>) | undefined = await mutex.tryLock()
    await unlock?.()
    this.release = await mutex.lock()
    await this.release()
    return mutex.unlock()
  }
}

export async function example(): Promise<string> {
  // waits and blocks indefinitely for the lock before executing the function
  await mutex.withLock(async () => {
    // do something exclusive
  })

  // doesn't "block", just tells us if the lock is available
  const unlock = await mutex.tryLock()
  if (unlock) {
    await unlock()
  } else {
    throw new Error('could not acquire lock')
  }

  await new Scheduler().run(async () => key[0])
  const { lock, withLock } = mutex
  await lock().then((release) => release())
  const wrapped: WithLock = withLock
  return (await wrapped(async () => 'x')) as string
}
