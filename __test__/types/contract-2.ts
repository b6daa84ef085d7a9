// What a TypeScript caller of `/v2` writes, and what must not compile. Only compiled, never run.

import advisoryLock, { AdvisoryLockError, strToKey } from 'advisory-lock-native/v2'
import type {
  AcquireOptions,
  AdvisoryLockErrorCode,
  AdvisoryLockOptions,
  CreateMutex,
  Election,
  ElectionOptions,
  Key,
  LockHolder,
  Mutex,
  Term,
  UnlockFunction,
} from 'advisory-lock-native/v2'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function same<A, B>(_: Equal<A, B>): void {}

const options: AdvisoryLockOptions = { idleTimeout: 100 }
const createMutex: CreateMutex = advisoryLock('postgres://localhost/db', options)
const mutex: Mutex = createMutex('name')
const key: Key = strToKey('name')
createMutex(key)
createMutex(-(2n ** 63n))

export async function results(): Promise<void> {
  const { lock, unlock, tryLock, tryLockShared, unlockShared, withLock, withLockShared, holders } = mutex
  const release = await lock({ timeout: 5 } satisfies AcquireOptions)
  same<typeof release, UnlockFunction>(true)
  same<Awaited<ReturnType<typeof release>>, void>(true)
  same<Awaited<ReturnType<typeof unlock>>, void>(true)
  same<Awaited<ReturnType<typeof unlockShared>>, void>(true)
  same<Awaited<ReturnType<typeof tryLock>>, UnlockFunction | undefined>(true)
  const shared = await tryLockShared()
  if (shared) await shared()
  release.signal.throwIfAborted()
  const value = await withLock(() => 5)
  same<typeof value, number>(true)
  const later = await withLock(async () => 'x' as const)
  same<typeof later, 'x'>(true)
  const signalled = await withLockShared(async (signal) => signal.aborted, {})
  same<typeof signalled, boolean>(true)
  const who: LockHolder[] = await holders()
  same<(typeof who)[0]['waitingSince'], Date | null>(true)
  same<(typeof who)[0]['connectedSince'], Date | null>(true)
  same<Awaited<ReturnType<typeof release.verify>>, Date>(true)
  const tried = await mutex.tryWithLock(() => 5)
  same<typeof tried, { acquired: true; value: number } | { acquired: false }>(true)
  const election: Election = mutex.elect(({ every }: Term) => every(1000, () => {}), { settle: 1 } satisfies ElectionOptions)
  election.on('elected', (term) => same<typeof term, Term>(true))
  await election.stop()
  const fenced = await mutex.lock({ fencing: true })
  same<typeof fenced.token, bigint>(true)
  same<Awaited<ReturnType<typeof fenced>>, void>(true)
  await mutex.withLock((_, { token, fence }) => fence + token, { fencing: true })
  await mutex.elect((term) => term.fence.length, { fencing: true }).stop()
  await createMutex.close()
  try {
    await lock()
  } catch (error) {
    if (error instanceof AdvisoryLockError) same<typeof error.code, AdvisoryLockErrorCode>(true)
  }
}

export async function perhaps(isFenced: boolean, signal: AbortSignal | undefined, number: number | undefined): Promise<void> {
  const value = await mutex.withLock(async () => 1, { fencing: isFenced })
  same<typeof value, number>(true)
  await mutex.withLockShared((_, held) => held?.fence, { fencing: false })
  await mutex.elect(() => {}, { signal, settle: number, fencing: isFenced, backoff: { min: number } }).stop()
}

// @ts-expect-error there is no client in this contract
void createMutex.client
// @ts-expect-error no number
createMutex(1)
// @ts-expect-error an unknown option
advisoryLock('', { idleTimeOut: 1 })
// @ts-expect-error an unknown limit
mutex.lock({ timeOut: 1 })
// @ts-expect-error tryLock does not wait
mutex.tryLock({ timeout: 1 })
// @ts-expect-error it may be undefined
void mutex.tryLock().then((unlock) => unlock())
