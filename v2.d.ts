/// <reference types="node" />
import contract1 = require('./index.js')

/**
 * Locks in one PostgreSQL database, shared by every process that connects to it; the interface of `advisory-lock` 2.x.
 *
 * Each `lock`, `tryLock` and `withLock` is an **owner** of its own: two calls exclude each other, through one mutex too.
 * All of a process with the same connection string and options share their connections, which are closed half a second after
 * the last lock was given up (`idleTimeout`). Connecting is left to the first call that needs the server.
 *
 * @param connectionString where to connect, in the form that `pg` takes (`postgres://user:password@host:port/database`), or a
 *   configuration object of `pg`'s; what it leaves out comes from the `PG*` environment variables. It is read at this call, and an unusable one is
 *   reported by each call that would connect (see {@link advisoryLock.AdvisoryLockError}).
 * @param options see {@link advisoryLock.AdvisoryLockOptions}.
 * @returns a function that makes a {@link advisoryLock.Mutex} for a name.
 * @throws {TypeError} `ERR_INVALID_ARG_TYPE`: the connection string is neither a string nor an object, a field of it or an
 *   option is of the wrong type; `ERR_INVALID_ARG_VALUE`: an option or a field of `ssl` is unknown or not supported.
 * @throws {RangeError} `ERR_OUT_OF_RANGE`: a number among the options is outside its range.
 */
declare function advisoryLock(
  connectionString?: string | advisoryLock.ConnectionConfig,
  options?: advisoryLock.AdvisoryLockOptions,
): advisoryLock.CreateMutex

declare namespace advisoryLock {
  export { advisoryLock as default }
  export import AcquireOptions = contract1.AcquireOptions
  export import AcquireTrace = contract1.AcquireTrace
  export import AdvisoryLockError = contract1.AdvisoryLockError
  export import AdvisoryLockErrorCode = contract1.AdvisoryLockErrorCode
  export import AdvisoryLockFailure = contract1.AdvisoryLockFailure
  export import AdvisoryLockOptions = contract1.AdvisoryLockOptions
  export import ElectedMessage = contract1.ElectedMessage
  export import Election = contract1.Election
  export import ElectionEvents = contract1.ElectionEvents
  export import ElectionOptions = contract1.ElectionOptions
  export import ConnectionConfig = contract1.ConnectionConfig
  export import FencedHold = contract1.FencedHold
  export import FencedTerm = contract1.FencedTerm
  export import Fencing = contract1.Fencing
  export import HoldTrace = contract1.HoldTrace
  export import Key = contract1.Key
  export import KeyWithPassphrase = contract1.KeyWithPassphrase
  export import LockHolder = contract1.LockHolder
  export import LockOptions = contract1.LockOptions
  export import LockSubject = contract1.LockSubject
  export import LostMessage = contract1.LostMessage
  export import Name = contract1.Name
  export import Pem = contract1.Pem
  export import PermitHolder = contract1.PermitHolder
  export import SessionMessage = contract1.SessionMessage
  export import Stats = contract1.Stats
  export import Term = contract1.Term
  export import TryWithLock = contract1.TryWithLock
  export import TryWithLockResult = contract1.TryWithLockResult
  export import WithFencedLock = contract1.WithFencedLock
  export import SslConfig = contract1.SslConfig
  export import strToKey = contract1.strToKey

  /**
   * Holds a lock while a function runs, as {@link contract1.WithLock}. What is inferred from the type, as by `Parameters`, is
   * its last signature: that of the original's typings.
   */
  export type WithLock = contract1.WithLock & ((fn: () => Promise<unknown>) => Promise<unknown>)

  /** Releases the one hold it was made for. Also an `AsyncDisposable`: `await using unlock = await mutex.lock()`. */
  export interface UnlockFunction {
    /**
     * Calling it again changes nothing.
     *
     * @returns resolves once the hold is given up, also where that was done before.
     * @throws {AdvisoryLockError} `ERR_LOCK_LOST`: the connection that held the lock is gone, others may have it already.
     */
    (): Promise<void>
    /**
     * Aborted when the hold is lost; its `reason` is the {@link AdvisoryLockError} `ERR_LOCK_LOST`. Never aborted by a release. Its
     * `aborted` and `throwIfAborted()` look before they answer; a signal derived from it, as by `AbortSignal.any`, learns of a loss
     * with the next turn of the event loop at the earliest.
     */
    readonly signal: AbortSignal
    /** Asks the session that holds whether the lock is still held, as {@link contract1.UnlockFunction.verify}. */
    readonly verify: () => Promise<Date>
    /** With `fencing`: see {@link contract1.Fencing.token}. */
    readonly token?: bigint | undefined
    /** With `fencing`: see {@link contract1.Fencing.fence}. */
    readonly fence?: string | undefined
    /** The same as calling the function, for `await using`. */
    [Symbol.asyncDispose](): Promise<void>
  }

  /** As {@link UnlockFunction}, of a hold with a token and a fence. */
  export interface FencedUnlockFunction extends UnlockFunction {
    /** As {@link contract1.Fencing.token}. */
    readonly token: bigint
    /** As {@link contract1.Fencing.fence}. */
    readonly fence: string
  }

  /**
   * One lock, by name. The methods need no `this` and may be destructured. A held lock keeps the process alive.
   *
   * Every method that reaches the server rejects with an {@link AdvisoryLockError} when it cannot be reached or refuses,
   * and with `ERR_CLIENT_CLOSED` after {@link CreateMutex.close}.
   */
  export interface Mutex {
    /**
     * Waits until the lock is held exclusively.
     *
     * @returns resolves to the function that releases this hold.
     * @throws {AdvisoryLockError} `ERR_LOCK_TIMEOUT`: `options.timeout` passed. Its `cause` is the error of the connection where no
     * server has said that the lock is taken.
     * @throws `signal.reason`: `options.signal` was aborted.
     */
    lock(options: LockOptions & { fencing: true }): Promise<FencedUnlockFunction>
    /** Waits until the lock is held exclusively, with a token and a fence only where `fencing` is true. */
    lock(options?: LockOptions): Promise<UnlockFunction>
    /**
     * Releases the latest exclusive hold taken through this mutex object that is not released yet; one of `withLock`
     * only where there is no other. Does nothing where there is none.
     *
     * @throws {AdvisoryLockError} `ERR_LOCK_LOST`: the hold was lost before, and nobody was told yet.
     */
    unlock(): Promise<void>
    /**
     * Takes the lock exclusively if that is possible without waiting.
     *
     * @returns resolves to the function that releases this hold, or to `undefined`: the lock is taken.
     */
    tryLock(): Promise<UnlockFunction | undefined>
    /** Holds the lock exclusively while a function runs. */
    withLock: WithFencedLock & WithLock
    /** As {@link Mutex.lock}, shared: many may hold it so at once, none exclusively meanwhile. */
    lockShared(options: LockOptions & { fencing: true }): Promise<FencedUnlockFunction>
    /** The same, with a token and a fence only where `fencing` is true. */
    lockShared(options?: LockOptions): Promise<UnlockFunction>
    /** As {@link Mutex.unlock}, for shared holds. */
    unlockShared(): Promise<void>
    /** As {@link Mutex.tryLock}, shared. */
    tryLockShared(): Promise<UnlockFunction | undefined>
    /** As {@link Mutex.withLock}, shared. */
    withLockShared: WithFencedLock & WithLock
    /** Holds the lock exclusively while a function runs, if it can be had without waiting. */
    tryWithLock: TryWithLock
    /** As {@link Mutex.tryWithLock}, shared. */
    tryWithLockShared: TryWithLock
    /** Stands for election, as {@link contract1.Mutex.elect}. */
    elect(lead: (term: FencedTerm) => unknown, options: ElectionOptions & { fencing: true }): Election
    /** The same, with tokens and fences only where `fencing` is true. */
    elect(lead: (term: Term) => unknown, options?: ElectionOptions): Election
    /** Who holds the lock or waits for it on the server, as {@link contract1.Mutex.holders}. */
    holders(): Promise<LockHolder[]>
  }

  /** A lock of which several may be held at a time, as {@link contract1.Semaphore}. A permit that is held keeps the process alive. */
  export interface Semaphore {
    /** Waits for a permit: resolves to the function that gives it back. */
    lock(options?: AcquireOptions): Promise<UnlockFunction>
    /** Takes a permit if one is free: resolves to the function that gives it back, else to `undefined`. */
    tryLock(): Promise<UnlockFunction | undefined>
    /** Gives back the latest permit taken through this object, if there is one. */
    unlock(): Promise<void>
    /** Holds a permit while a function runs. */
    withLock: WithLock
    /** Holds a permit while a function runs, if one is free. */
    tryWithLock: TryWithLock
    /** The sessions that hold a permit, in the order of the permits, then those that wait. */
    holders(): Promise<PermitHolder[]>
  }

  /** Makes mutexes. */
  export interface CreateMutex {
    /**
     * @param name see {@link Name}.
     * @throws {TypeError} `ERR_INVALID_ARG_TYPE`: none of these.
     * @throws {RangeError} `ERR_OUT_OF_RANGE`: an integer outside 32 bits, or a bigint outside 64.
     */
    (name: Name): Mutex
    /** A mutex of several keys, all or nothing, as {@link contract1.CreateMutex.all}. */
    all(names: readonly Name[]): Mutex
    /** A semaphore, as {@link contract1.CreateMutex.semaphore}. */
    semaphore(name: Name, permits: number): Semaphore
    /** What the calls through these mutexes have at this moment, as {@link contract1.CreateMutex.stats}. */
    stats(): Stats
    /**
     * Gives up all that was taken through these mutexes, ends what waits (`ERR_CLIENT_CLOSED`, as later calls) and stops elections. Nobody
     * has to call it: connections close by themselves. It waits for the leaders of elections to end: no `lead` may await it.
     */
    close(): Promise<void>
    /** The same as `close()`, for `await using`. */
    [Symbol.asyncDispose](): Promise<void>
  }
}

export = advisoryLock
