// What a TypeScript caller writes, and what must not compile. Only compiled, never run.

import advisoryLock, { AdvisoryLockError, strToKey } from 'advisory-lock-native'
import type {
  AcquireOptions,
  AdvisoryLockErrorCode,
  AdvisoryLockOptions,
  Client,
  CreateMutex,
  Election,
  ElectionOptions,
  FencedUnlockFunction,
  Key,
  Mutex,
  Term,
  UnlockFunction,
} from 'advisory-lock-native'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function same<A, B>(_: Equal<A, B>): void {}

const options: AdvisoryLockOptions = { maxWaitConnections: 2, applicationName: 'x', heartbeat: 1000 }
const createMutex: CreateMutex = advisoryLock('postgres://localhost/db', options)
const mutex: Mutex = createMutex('name')
const key: Key = strToKey('name')
createMutex(key)
createMutex([1, 2])
createMutex([1, 2] as const)
createMutex(5n)

export async function results(): Promise<void> {
  const { lock, unlock, tryLock, withLock, withLockShared } = mutex
  const release = await lock()
  same<typeof release, UnlockFunction>(true)
  same<Awaited<ReturnType<typeof release>>, boolean>(true)
  same<Awaited<ReturnType<typeof unlock>>, boolean>(true)
  same<Awaited<ReturnType<typeof tryLock>>, boolean>(true)
  release.signal.addEventListener('abort', () => {})
  const { verify } = release
  same<Awaited<ReturnType<typeof verify>>, Date>(true)

  const value = await withLock(() => 5)
  same<typeof value, number>(true)
  const later = await withLock(async () => 'x' as const)
  same<typeof later, 'x'>(true)
  const signalled = await withLockShared((signal) => signal.aborted, { timeout: 5 })
  same<typeof signalled, boolean>(true)
  const nothing = await withLock()
  same<typeof nothing, undefined>(true)
  await withLock(undefined, { signal: new AbortController().signal })

  const limits: AcquireOptions = { timeout: 1000 }
  await lock(limits)
  await mutex.lockShared({ timeout: Infinity })

  const client: Client = createMutex.client
  client.on('end', () => {}).on('error', (error) => same<typeof error, AdvisoryLockError>(true))
  await client.end()
  client.end(() => {})
  await createMutex.close()

  try {
    await lock()
  } catch (error) {
    if (error instanceof AdvisoryLockError) same<typeof error.code, AdvisoryLockErrorCode>(true)
  }
}

async function several(): Promise<void> {
  const all = createMutex.all(['a', [1, 2], 3n])
  same<typeof all, Mutex>(true)
  await (await all.lock({ timeout: 5 }))()
  const semaphore = createMutex.semaphore('pool', 3)
  same<Awaited<ReturnType<typeof semaphore.tryLock>>, boolean>(true)
  for (const { slot } of await semaphore.holders()) same<typeof slot, number | null>(true)
  same<Awaited<ReturnType<typeof semaphore.unlock>>, boolean>(true)
  // @ts-expect-error permits are of one kind
  await semaphore.lockShared()
}
void several
// @ts-expect-error a number of permits is needed
createMutex.semaphore('pool')
// @ts-expect-error a list is needed
createMutex.all('a')
export async function elections(): Promise<void> {
  const { elect, tryWithLock, tryWithLockShared } = mutex
  const tried = await tryWithLock((signal) => (signal.aborted ? 1 : 2))
  if (tried.acquired) same<typeof tried.value, 1 | 2>(true)
  // @ts-expect-error there is no value unless it was acquired
  else void tried.value
  const shared = await tryWithLockShared(async () => 'x')
  same<typeof shared, { acquired: true; value: string } | { acquired: false }>(true)

  const limits: ElectionOptions = { signal: new AbortController().signal, backoff: { max: 1000 }, settle: 100 }
  const election: Election = elect(async ({ signal, verify, resign, every, schedule }) => {
    same<typeof signal, AbortSignal>(true)
    same<Awaited<ReturnType<typeof verify>>, Date>(true)
    void every(1000, (tick) => same<typeof tick, Date>(true))
    await schedule((after) => new Date(after.getTime() + 1), async (tick) => tick.toISOString())
    resign()
  }, limits)
  election
    .on('elected', (term) => same<typeof term, Term>(true))
    .on('lost', (error) => same<typeof error, AdvisoryLockError>(true))
    .on('resigned', () => {})
    .on('standby', (error) => same<typeof error, unknown>(true))
    .once('error', (error) => same<typeof error, unknown>(true))
  same<typeof election.isLeader, boolean>(true)
  process.once('SIGTERM', election.stop)
  await elect((term) => term.every(1000, () => {})).ended
  // @ts-expect-error it cannot be set
  election.isLeader = true
}

// @ts-expect-error there is nothing to be done
mutex.tryWithLock()
export async function fencing(isFenced: boolean): Promise<void> {
  const unlock = await mutex.lock({ fencing: true, timeout: 5 })
  same<typeof unlock, FencedUnlockFunction>(true)
  same<typeof unlock.token, bigint>(true)
  same<typeof unlock.fence, string>(true)
  const perhaps = await mutex.lockShared({ fencing: isFenced })
  same<typeof perhaps, UnlockFunction>(true)
  same<typeof perhaps.token, bigint | undefined>(true)
  const token = await mutex.withLock((signal, held) => (signal.aborted ? held.fence : held.token), { fencing: true })
  same<typeof token, string | bigint>(true)
  const election: Election = mutex.elect(({ token, fence }) => `${token + 1n}${fence.length}`, { fencing: true, settle: 1 })
  await election.stop()
  await mutex.elect((term) => term.token?.toString()).stop()
}

export async function perhapsFenced(isFenced: boolean, given: boolean | undefined, fn: (() => number) | undefined): Promise<void> {
  const token = await mutex.withLock((signal, held) => (signal.aborted ? undefined : held?.token), { fencing: isFenced })
  same<typeof token, bigint | undefined>(true)
  const plain = await mutex.withLockShared(async (signal) => Number(signal.aborted), { fencing: false, timeout: 5 })
  same<typeof plain, number>(true)
  await mutex.withLock(() => 1, { fencing: given })
  const perhaps = await mutex.withLock(fn, { fencing: isFenced })
  same<typeof perhaps, number | undefined>(true)
}

/** What may be there or not is handed on as it is. */
export function perhapsLed(signal: AbortSignal | undefined, number: number | undefined, fencing: boolean | undefined): Election {
  const backoff: ElectionOptions['backoff'] = signal && { min: number, max: number }
  return mutex.elect(() => {}, { signal, settle: number, fencing, backoff })
}

export async function held(): Promise<void> {
  for (const { pid, preparedTransaction } of await mutex.holders()) {
    same<typeof pid, number | null>(true)
    same<typeof preparedTransaction, string | null>(true)
  }
}

// @ts-expect-error a permit has no fence
createMutex.semaphore('name', 1).lock({ fencing: true })
// @ts-expect-error yes or no
mutex.lock({ fencing: 1 })
// @ts-expect-error nothing is granted without the option
mutex.withLock((signal, held) => held, { timeout: 1 })
// @ts-expect-error an election is for somebody who leads
mutex.elect()
// @ts-expect-error an unknown option
mutex.elect(() => {}, { bakoff: {} })
// @ts-expect-error no number of milliseconds
mutex.elect((term) => term.every('1s', () => {}))
// @ts-expect-error no Date
mutex.elect((term) => term.schedule(() => 5, () => {}))

/** What may be there or not is handed on as it is. */
export async function maybe(
  fn: (() => Promise<number>) | undefined,
  heeding: ((signal: AbortSignal) => number) | undefined,
  limits: AcquireOptions | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { lock, withLock, withLockShared } = mutex
  await lock(limits)
  await lock({ signal, timeout: undefined })
  const none = await withLock(fn)
  same<typeof none, number | undefined>(true)
  const limited = await withLock(() => 5, limits)
  same<typeof limited, number>(true)
  const aware = await withLock((given) => given?.aborted, limits)
  same<typeof aware, boolean | undefined>(true)
  const heeded = await withLockShared(heeding, {})
  same<typeof heeded, number | undefined>(true)
  const both = await withLock(fn, limits)
  same<typeof both, number | undefined>(true)
  await withLock(undefined, limits)
  const certain = await withLock(async () => 'x')
  same<typeof certain, string>(true)
  advisoryLock(undefined, { applicationName: undefined, heartbeat: undefined })
  advisoryLock(undefined, { publishNames: false })
  advisoryLock('', { transactionPooling: true, directConnectionString: 'postgres://db', maxWaitConnections: 1 })
}

// @ts-expect-error the limits may be undefined, and then there is no signal
export const careless = (limits?: AcquireOptions) => mutex.withLock((signal: AbortSignal) => signal.aborted, limits)

/** What a test of somebody's throws in place of a lost lock. */
export const thrown = new AdvisoryLockError({ code: 'ERR_LOCK_LOST', message: 'the lock is lost' }, new Error('cut'))
export const refused = new AdvisoryLockError({ code: '08006', message: 'gone', address: '127.0.0.1', port: 5432, hint: undefined })
// @ts-expect-error a message alone is none
export const bare = new AdvisoryLockError('the lock is lost')
// @ts-expect-error no code
export const codeless = new AdvisoryLockError({ message: 'the lock is lost' })

export const code: AdvisoryLockErrorCode = 'ERR_LOCK_LOST'
export const sqlstate: AdvisoryLockErrorCode = '57P01'
// @ts-expect-error a code is a text
export const numeric: AdvisoryLockErrorCode = 57

advisoryLock()
advisoryLock(process.env['DATABASE_URL'])
// @ts-expect-error no number
advisoryLock(5)
// @ts-expect-error an unknown option
advisoryLock('', { maxWaitConections: 1 })
// @ts-expect-error neither true nor false
advisoryLock('', { publishNames: 'no' })
// @ts-expect-error a string, not an object
advisoryLock('', { transactionPooling: true, directConnectionString: { host: 'db' } })
// @ts-expect-error an option of another type
advisoryLock('', { heartbeat: '1s' })
// @ts-expect-error no number
createMutex(1)
// @ts-expect-error three numbers are no key
createMutex([1, 2, 3])
// @ts-expect-error an unknown limit
mutex.lock({ timeOut: 1 })
// @ts-expect-error no number of milliseconds
mutex.lock({ timeout: '1' })
// @ts-expect-error the controller is not the signal
mutex.lock({ signal: new AbortController() })
// @ts-expect-error tryLock does not wait
mutex.tryLock({ timeout: 1 })
// @ts-expect-error without options there is no signal
mutex.withLock((signal: AbortSignal) => signal)
// @ts-expect-error the signal cannot be set
void mutex.lock().then((unlock) => (unlock.signal = new AbortController().signal))
