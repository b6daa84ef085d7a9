/// <reference types="node" />
import { EventEmitter } from 'node:events'

/**
 * Locks in one PostgreSQL database, shared by every process that connects to it.
 *
 * The returned `createMutex` is one **owner**: holds of one key taken through it stack (n locks need n unlocks), and its
 * own holds never conflict with each other, as in one PostgreSQL session. Two callers who must exclude each other inside
 * one process take an `advisoryLock(…)` each.
 *
 * Connecting is left to the first call that needs the server; every owner of a process with the same connection string
 * and options shares its connections.
 *
 * @param connectionString where to connect (`undefined` is the empty string), in a form that `pg` takes (`postgres://user:password@host:port/database`) or
 *   libpq (`host=… user=…`, several hosts), or a configuration object of `pg`'s; what it leaves out comes from the `PG*`
 *   variables in `process.env`, the password at last from `~/.pgpass`. It is read at this call, and an unusable one is
 *   reported by each call that would connect (see {@link advisoryLock.AdvisoryLockError}); files that it names are read for each
 *   connection.
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

  /** The two 32-bit integers of a PostgreSQL advisory lock: `pg_advisory_lock(key1 int, key2 int)`. Each is −2³¹ … 2³¹−1. */
  export type Key = [key1: number, key2: number]

  /**
   * The key of a lock name: bytes 0–3 and 4–7 of the SHA-256 of its UTF-8 form, as little-endian int32. The same key as
   * the npm package `advisory-lock` gives, so that both may guard one thing during a migration.
   *
   * @param name any string, the empty one included.
   * @throws {TypeError} `ERR_INVALID_ARG_TYPE`: `name` is no string.
   * @example strToKey('test-lock') // [-107789403, -1898803861]
   */
  export function strToKey(name: string): Key

  /**
   * What a mutex is made of: a string (its key is {@link strToKey}), the key itself as two int32, or a bigint of 64 bits,
   * signed, which is a key in PostgreSQL's other key space: `pg_advisory_lock(key bigint)`. The two spaces never conflict.
   */
  export type Name = string | readonly [key1: number, key2: number] | bigint

  /**
   * A session of the database that holds a lock or waits for it, from `pg_locks` and `pg_stat_activity`; or a prepared transaction
   * (`PREPARE TRANSACTION`) that holds it, which has a name and is of no session.
   */
  export interface LockHolder {
    /** Process id of its backend; `null` for a prepared transaction. */
    pid: number | null
    /** Its `application_name`; `null` where this role may not see it, and for a prepared transaction. */
    applicationName: string | null
    /** Its IP address; `null` over a unix socket, or where this role may not see it. */
    clientAddress: string | null
    /** How it holds the lock, or wants to. */
    mode: 'exclusive' | 'shared'
    /** `true`: it holds the lock. `false`: it waits in the server's queue. */
    granted: boolean
    /**
     * Since when it waits; `null` for a holder, and before PostgreSQL 14. Sessions of this package queue again about every
     * second, and this is the latest time.
     */
    waitingSince: Date | null
    /** Since when the session is there; `null` where this role may not see it. The lock is not held for longer than that. */
    connectedSince: Date | null
    /** The name of the prepared transaction, as `ROLLBACK PREPARED` takes it; `null` for a session. */
    preparedTransaction: string | null
  }

  /**
   * Where to connect, as the `ClientConfig` of `pg` says it, with `pg`'s meaning: what is left out, empty, `null`, `false` or 0
   * comes from the `PG*` variables; `connectionString` decides on user, password, host, port and database even where it does not
   * say them, and on all of TLS where it says anything of it. The object is read once, at the call. Fields that mean nothing
   * here are ignored, as are those of a pool; `stream` is a `TypeError`. Parameters of libpq's are taken as fields too, as
   * `sslmode` or `target_session_attrs`.
   */
  export interface ConnectionConfig {
    /** A string as `advisoryLock` takes it. What it is about (user, password, host, port, database) it decides alone. */
    connectionString?: string | undefined
    /** A host name, an address, the folder of a unix socket, or a list of them. */
    host?: string | undefined
    /** 1 … 65535. Default 5432. */
    port?: number | string | undefined
    /** Who logs in. Default: `PGUSER`, else the user of the system. */
    user?: string | undefined
    /** Default: `PGDATABASE`, else the name of the user. */
    database?: string | undefined
    /**
     * The password, or a function that gives it: called without arguments for each new connection, as tokens expire, on the
     * thread that it belongs to and within `connectTimeout`. `undefined` is no password. What it throws or rejects with, the
     * callers who wait for that connection reject with as it is. Owners share connections only where they have the same function.
     */
    password?: string | (() => string | undefined | PromiseLike<string | undefined>) | undefined
    /** `true`: as `sslmode=verify-full`. `false`: plain text. Otherwise what is read of a string and `PGSSLMODE`. */
    ssl?: boolean | SslConfig | undefined
    /** `direct` saves a round trip, from PostgreSQL 17 on. Default `postgres`. */
    sslnegotiation?: 'postgres' | 'direct' | undefined
    /** Shown in `pg_stat_activity`, unless the option `applicationName` is given. */
    application_name?: string | undefined
    /** The same where nothing else gives a name. */
    fallback_application_name?: string | undefined
    /** Settings for the server: `-c name=value`. */
    options?: string | undefined
    /** Milliseconds, for the server; ends no wait. */
    statement_timeout?: number | false | undefined
    /** Milliseconds, for the server; ends no wait. */
    lock_timeout?: number | undefined
    /** Milliseconds, for the server. */
    idle_in_transaction_session_timeout?: number | undefined
    /** Milliseconds for one attempt to connect; 0: no limit. The option `connectTimeout` comes first. */
    connectionTimeoutMillis?: number | undefined
    /** Most iterations that a SCRAM secret may ask for. Default 100 000; 0: any. */
    scramMaxIterations?: number | undefined
    /** Ignored: idle connections are kept alive anyway. */
    keepAlive?: boolean | undefined
    /** Ignored. */
    keepAliveInitialDelayMillis?: number | undefined
    /** Ignored. */
    query_timeout?: number | undefined
    /** Ignored. */
    client_encoding?: string | undefined
    /** Ignored: the proof of a password is tied to the TLS connection wherever the server can do that. */
    enableChannelBinding?: boolean | undefined
  }

  /** PEM as text or bytes. It is never written to a file. */
  export type Pem = string | Uint8Array

  /** A private key that has a passphrase of its own. */
  export interface KeyWithPassphrase {
    /** The key. */
    pem: Pem
    /** What decrypts it. */
    passphrase?: string | undefined
  }

  /**
   * TLS, by the fields of Node.js's `tls.connect` that mean something here; any other field is a `TypeError`, as TLS is the
   * native part's own.
   */
  export interface SslConfig {
    /** Who is trusted, in the place of the platform's authorities; a server that shows one of these itself is the right one. */
    ca?: Pem | Pem[] | undefined
    /** The client's certificate, with those between it and its authority. */
    cert?: Pem | Pem[] | undefined
    /** The key that belongs to `cert` (PKCS#8, PKCS#1 or SEC1). */
    key?: Pem | Array<Pem | KeyWithPassphrase> | undefined
    /** For an encrypted `key`. */
    passphrase?: string | undefined
    /** `false`: the connection is encrypted, to whomever. Default `true`. */
    rejectUnauthorized?: boolean | undefined
    /** What the server's certificate is for where `host` is an address; a host name counts itself, as in `pg`. */
    servername?: string | undefined
    /** The oldest version of TLS that will do. Default `TLSv1.2`, below which there is none. */
    minVersion?: 'TLSv1.3' | 'TLSv1.2' | 'TLSv1.1' | 'TLSv1' | undefined
    /** The newest version of TLS to offer. Default `TLSv1.3`. */
    maxVersion?: 'TLSv1.3' | 'TLSv1.2' | 'TLSv1.1' | 'TLSv1' | undefined
  }

  /** How the locks of one `advisoryLock(…)` connect and wait. Owners with equal settings share connections. */
  export interface AdvisoryLockOptions {
    /**
     * Most connections used for waiting in PostgreSQL's own queue, 0 … 1000; further waits are polled in batches. Default 8.
     * With 0 all are, and lose against those who are in the queue as long as there are any.
     */
    maxWaitConnections?: number | undefined
    /** Milliseconds after which a connection that holds and awaits nothing is closed, 0 … 2³¹−1. Default 10 000; 500 in `/v2`. */
    idleTimeout?: number | undefined
    /** Milliseconds a connection attempt may take, over all hosts, 1 … 2³¹−1. Default: `connect_timeout` of the connection string, else 10 000. */
    connectTimeout?: number | undefined
    /** `application_name` of the connections, as `pg_stat_activity` shows it. Default: the connection string's, else `PGAPPNAME`, else `advisory-lock-native`. */
    applicationName?: string | undefined
    /** Milliseconds between two signs of life asked of a server that is silent while locks are held, 100 … 2³¹−1 (more than 32 000 000 count as that). Default 3000. */
    heartbeat?: number | undefined
    /**
     * Milliseconds within which a server that does not answer is given up, and whoever holds a lock there has been told, 100 … 600 000.
     * Default 5000. The server is asked to keep the locks of a silent client for longer than this and `heartbeat` together, so a
     * greater one bears longer pauses of the server, a failover say, and costs as much: the locks of a client that is cut off, or of
     * a machine that is gone, are given to others later by that. A smaller one loses locks to shorter pauses. A long answer may take
     * a second more for each 16 KiB.
     */
    answerTimeout?: number | undefined
    /**
     * Whether the server is behind a pooler that lends its connections for one transaction at a time, and locks are to be held through
     * it: each by a transaction that is kept open. A session lock would exclude nobody there. What differs is in docs/poolers.md.
     * Default: what `pgbouncer` in the connection string says, else `false`, and such a pooler is refused. Does not go with
     * `maxWaitConnections`, unless there is a `directConnectionString`.
     */
    transactionPooling?: boolean | undefined
    /**
     * Besides such a pooler, the way past it to the same database, as a connection string of any form. Locks are asked for and held
     * there, as without a pooler, and no transaction is kept open; a wait that lasts has no connection there, and is looked for
     * through the pooler. A string that leads to another database is found out before the first look: the wait rejects with
     * `ERR_OTHER_DATABASE`. Needs `transactionPooling` (or `pgbouncer=true`); does not go with `maxPinnedConnections`.
     */
    directConnectionString?: string | undefined
    /**
     * Most locks held at a time through such a pooler, each on a server connection of its pool, 1 … 1000; more wait in the process,
     * where they wait at all. Default 8. Without `transactionPooling` it has no meaning.
     */
    maxPinnedConnections?: number | undefined
    /**
     * Whether a session that holds locks says their names in the database: in a comment before the statement by which it shows a sign of
     * life, half a second after it was last used and with each `heartbeat`. Whoever may see that session's statements in
     * `pg_stat_activity` can read them, and `pglocks` shows them. Default `true`.
     */
    publishNames?: boolean | undefined
  }

  /** Limits of one acquire. */
  export interface AcquireOptions {
    /** Most milliseconds to wait, connecting included: 0 (only if free at once) or more, `Infinity` for no limit (the default). */
    timeout?: number | undefined
    /** Ends the wait when it is aborted; the promise rejects with `signal.reason`. */
    signal?: AbortSignal | undefined
  }

  /** How a lock is taken. */
  export interface LockOptions extends AcquireOptions {
    /**
     * Whether the hold gets a token and a fence. It is granted only when no transaction is open any more that began with the fence of an
     * earlier hold; that wait has the same limits. Costs three round trips more. Default `false`.
     */
    fencing?: boolean | undefined
  }

  /** What a hold has that was taken with `fencing`. */
  export interface Fencing {
    /**
     * Greater than that of any hold with `fencing` before, in the whole database and over crashes of the server. A receiver that
     * remembers the greatest it has seen can refuse all lesser ones. It may come again after a failover to a standby that was behind.
     */
    readonly token: bigint
    /**
     * One SQL statement, to be sent right after `BEGIN` in a transaction of one's own at the same database, by any driver and through any
     * pooler. It fails with SQLSTATE `55000` unless this very hold still stands; and while that transaction is open, no next holder with
     * `fencing` is granted. Outside of a transaction it fails with `25P01`. It is made of constants, without parameters, and
     * needs no table. Its sender needs two rights that everybody has unless they were revoked: `USAGE` on the language `plpgsql`, and
     * `SELECT` on `pg_locks` and `pg_database`.
     */
    readonly fence: string
  }

  /** What the function of `withLock` gets besides its signal, where the lock is taken with `fencing`. */
  export interface FencedHold extends Fencing {
    /** As {@link UnlockFunction.verify}. */
    readonly verify: () => Promise<Date>
  }

  /** As {@link UnlockFunction}, of a hold with a token and a fence. */
  export interface FencedUnlockFunction extends UnlockFunction {
    /** As {@link Fencing.token}. */
    readonly token: bigint
    /** As {@link Fencing.fence}. */
    readonly fence: string
  }

  /** Releases the one hold it was made for. Also an `AsyncDisposable`: `await using unlock = await mutex.lock()`. */
  export interface UnlockFunction {
    /**
     * Calling it again changes nothing and resolves as the first call did.
     *
     * @returns resolves once the hold is given up: to `true`, or to `false` if it was given up before by
     *   {@link Mutex.unlock} or by `client.end()`.
     * @throws {AdvisoryLockError} `ERR_LOCK_LOST`: the connection that held the lock is gone, others may have it already.
     */
    (): Promise<boolean>
    /**
     * Aborted when the hold is lost; its `reason` is the {@link AdvisoryLockError} `ERR_LOCK_LOST`. Never aborted by a release. Its
     * `aborted` and `throwIfAborted()` look before they answer; a signal derived from it, as by `AbortSignal.any`, learns of a loss
     * with the next turn of the event loop at the earliest.
     */
    readonly signal: AbortSignal
    /**
     * Asks the session that holds, which takes one round trip, whether the lock is still held. An `AbortSignal` tells of a loss when this
     * process has heard of it; this tells of now.
     *
     * @returns resolves to the time of the database's clock at which the lock was held.
     * @throws {AdvisoryLockError} `ERR_LOCK_LOST`: it is lost, or was given up.
     */
    readonly verify: () => Promise<Date>
    /** With `fencing`: see {@link Fencing.token}. */
    readonly token?: bigint | undefined
    /** With `fencing`: see {@link Fencing.fence}. */
    readonly fence?: string | undefined
    /** The same as calling the function, for `await using`. */
    [Symbol.asyncDispose](): Promise<void>
  }

  /** Holds a lock while a function runs, and releases it whether that returns, resolves, throws or rejects. */
  export interface WithLock {
    /**
     * Within limits, even empty ones. `fn` gets a signal that is aborted when the lock is lost.
     *
     * @returns resolves to what `fn` gives; rejects with the very error of `fn`.
     * @throws {AdvisoryLockError} `ERR_LOCK_TIMEOUT`, and `signal.reason`, as {@link Mutex.lock}; `fn` was not called then.
     */
    <T>(fn: (signal: AbortSignal) => T | PromiseLike<T>, options: AcquireOptions): Promise<T>
    /** With limits that may be `undefined`: `fn` gets no signal then. */
    <T>(fn: (signal?: AbortSignal) => T | PromiseLike<T>, options: AcquireOptions | undefined): Promise<T>
    /** Waits for the lock and gives it back. */
    (fn?: undefined, options?: AcquireOptions): Promise<undefined>
    /**
     * @param fn called without arguments.
     * @returns resolves to what `fn` gives; rejects with the very error of `fn`.
     * @throws {AdvisoryLockError} `ERR_LOCK_LOST`: the lock was lost while `fn` ran. It rejects at once and does not wait for `fn`.
     */
    <T>(fn: () => T | PromiseLike<T>): Promise<T>
    /** With a function that may be `undefined`, within limits. */
    <T>(fn: ((signal: AbortSignal) => T | PromiseLike<T>) | undefined, options: AcquireOptions): Promise<T | undefined>
    /** With a function and limits that may be `undefined`. */
    <T>(fn: ((signal?: AbortSignal) => T | PromiseLike<T>) | undefined, options?: AcquireOptions): Promise<T | undefined>
  }

  /** Holds a lock with a token and a fence while a function runs. */
  export interface WithFencedLock {
    /**
     * @param fn gets a signal that is aborted when the lock is lost, and what the hold has.
     * @returns resolves to what `fn` gives; rejects with the very error of `fn`.
     * @throws as {@link WithLock}.
     */
    <T>(fn: (signal: AbortSignal, held: FencedHold) => T | PromiseLike<T>, options: LockOptions & { fencing: true }): Promise<T>
    /** With a token and a fence only where `fencing` is true. */
    <T>(
      fn: (signal: AbortSignal, held?: FencedHold) => T | PromiseLike<T>,
      options: LockOptions & { fencing: boolean | undefined },
    ): Promise<T>
    /** With a function that may be `undefined`. */
    <T>(
      fn: ((signal: AbortSignal, held?: FencedHold) => T | PromiseLike<T>) | undefined,
      options: LockOptions & { fencing: boolean | undefined },
    ): Promise<T | undefined>
  }

  /** Runs a function under the lock here and now, or not at all. */
  export interface TryWithLock {
    /**
     * @param fn gets a signal that is aborted when the lock is lost.
     * @returns resolves to what `fn` gives, or to `{ acquired: false }` if the lock is taken: `fn` was not called then.
     *   Rejects with the very error of `fn`.
     * @throws {AdvisoryLockError} `ERR_LOCK_LOST`: the lock was lost while `fn` ran. It rejects at once and does not wait for `fn`.
     */
    <T>(fn: (signal: AbortSignal) => T | PromiseLike<T>): Promise<TryWithLockResult<T>>
  }

  /** Whether the lock was free, and then `value`: what the function gave. */
  export type TryWithLockResult<T> = { acquired: true; value: T } | { acquired: false }

  /** How a process stands for election. */
  export interface ElectionOptions {
    /** Stops the election when it is aborted, as {@link Election.stop} does. */
    signal?: AbortSignal | undefined
    /**
     * Milliseconds to stand back before it stands again, each 1 … 2³¹−1: `min` (250) after a term that ended by itself; after a failure
     * by chance between `min` and three times the pause before, `max` (30 000) at most.
     */
    backoff?:
      | {
          /** The shortest pause. Default 250, or `max` where that is less. */
          min?: number | undefined
          /** The longest pause, no less than `min`. Default 30 000, or `min` where that is more. */
          max?: number | undefined
        }
      | undefined
    /**
     * Milliseconds between the grant of the lock and the election, 0 … 2³¹−1. Default 0. It leaves a predecessor whose lock was taken
     * from it, and who has not heard of it yet, the time to notice.
     */
    settle?: number | undefined
    /** Whether each term has a token and a fence, as {@link LockOptions.fencing}. Default `false`. */
    fencing?: boolean | undefined
  }

  /**
   * What a leader has while it leads. Its functions need no `this` and may be destructured.
   *
   * A term lasts until the lock is lost, `resign()` or {@link Election.stop} is called, or `lead` and all that `every` and `schedule` run
   * have ended.
   */
  export interface Term {
    /**
     * Aborted when the term is over. Its `reason` is an {@link AdvisoryLockError}: `ERR_LOCK_LOST` where the lock is lost, else
     * `ERR_TERM_OVER`, and the lock is kept until `lead` has ended. It looks before it answers, and signals derived from it do not, as
     * {@link UnlockFunction.signal}.
     */
    readonly signal: AbortSignal
    /**
     * As {@link UnlockFunction.verify}: rejects with `ERR_LOCK_LOST` if the lock is lost, and with `ERR_TERM_OVER` if the term is over
     * otherwise, though the lock may still be held.
     */
    readonly verify: () => Promise<Date>
    /** With `fencing`: see {@link Fencing.token}. It grows from term to term, over all processes. */
    readonly token?: bigint | undefined
    /** With `fencing`: see {@link Fencing.fence}. */
    readonly fence?: string | undefined
    /** Ends the term: `signal` is aborted now, and the lock is given up as soon as `lead` has ended. The process stands again. */
    readonly resign: () => void
    /**
     * Runs `fn` at the multiples of `ms` since 1970 by the **database's** clock, each **at most once over all processes**: before each run
     * one round trip makes sure that this process has held the lock at that time. Only times after the election count.
     *
     * A time that passes while nobody leads, or while `fn` still runs, is skipped and not made up for; of several that
     * pass while the process is busy or stopped, the latest is run, late. An error of `fn` is told by the election's `error` event, and the
     * next time comes.
     *
     * @param ms an integer, 1 or more: `30 * 60_000` is each full and each half hour.
     * @param fn gets the time that it is run for, which names the run: no other process is given the same.
     * @returns resolves when the term is over and `fn` has ended. The term lasts until then.
     * @throws {TypeError} `ERR_INVALID_ARG_TYPE`, {RangeError} `ERR_OUT_OF_RANGE`: at the call.
     * @example mutex.elect((term) => term.every(30 * 60_000, postStats))
     */
    readonly every: (ms: number, fn: (tick: Date) => unknown) => Promise<void>
    /**
     * As `every`, at the times that `next` gives.
     *
     * @param next the first time after the given one, of the database's clock, to milliseconds; any cron library has such a function. The same
     *   in every process, and without side effects: it is called as often as need be. If it throws or gives none, the term
     *   ends, which the `error` event tells.
     * @throws {TypeError} `ERR_INVALID_RETURN_VALUE`, {RangeError} `ERR_OUT_OF_RANGE`: `next` gives no valid `Date`, or one that is not later
     *   than the given one.
     */
    readonly schedule: (next: (after: Date) => Date, fn: (tick: Date) => unknown) => Promise<void>
  }

  /**
   * One process's part in an election. It stands by until it is elected, leads, and stands again whatever ends the term, until it is
   * stopped; meanwhile it keeps the process alive. Its holds are its own in either contract: two elections of one mutex exclude
   * each other.
   *
   * Events, in this order and again and again: `standby`, with the error that was in the way where there was one; `elected`, after which
   * `lead` is called; and either `lost`, at the moment that the loss is known, or `resigned`, when the lock has been given up. `error` has
   * what `lead` throws, or what it runs by `every` and `schedule`, unless that only says that the term is over; where nobody listens it is a
   * warning (`process.emitWarning`).
   */
  export interface Election extends EventEmitter {
    /** Whether this process leads: `false` from the very moment that the loss is known, or the end of the term is asked for. */
    readonly isLeader: boolean
    /** Resolves when the election has been stopped and the lock is given up. Never rejects. */
    readonly ended: Promise<void>
    /**
     * Stops it: aborts the term's signal or the wait, **waits until `lead` has ended**, and gives the lock up then. `lead` itself must not
     * await it, which would never end: `void election.stop()`. Needs no `this`: `process.once('SIGTERM', election.stop)`.
     *
     * @returns {@link Election.ended}
     */
    readonly stop: () => Promise<void>
    /** The same as `stop()`, for `await using`. */
    [Symbol.asyncDispose](): Promise<void>
    /** Listens, as an `EventEmitter` has it; see {@link ElectionEvents}. */
    on<E extends keyof ElectionEvents>(event: E, listener: ElectionEvents[E]): this
    on(event: string | symbol, listener: (...args: any[]) => void): this
    /** The same for the next time only. */
    once<E extends keyof ElectionEvents>(event: E, listener: ElectionEvents[E]): this
    once(event: string | symbol, listener: (...args: any[]) => void): this
    /** Listens no more. */
    off<E extends keyof ElectionEvents>(event: E, listener: ElectionEvents[E]): this
    off(event: string | symbol, listener: (...args: any[]) => void): this
  }

  /** As {@link Term}, with a token and a fence. */
  export interface FencedTerm extends Term {
    /** As {@link Fencing.token}. It grows from term to term, over all processes. */
    readonly token: bigint
    /** As {@link Fencing.fence}. */
    readonly fence: string
  }

  /** What is told by an {@link Election}. */
  export interface ElectionEvents {
    /** It stands by; `error` is why it could not stand before, if it could not. */
    standby: (error?: unknown) => void
    /** This process leads. */
    elected: (term: Term) => void
    /** The lock was lost while it led; `ERR_LOCK_LOST`. */
    lost: (error: AdvisoryLockError) => void
    /** The term is over otherwise. */
    resigned: () => void
    /** What `lead`, or a function of a tick, has thrown. Without a listener it is a warning of the process. */
    error: (error: unknown) => void
  }

  /**
   * One lock, by name. The methods need no `this` and may be destructured.
   *
   * Every method that reaches the server rejects with an {@link AdvisoryLockError} when it cannot be reached or refuses,
   * and with `ERR_CLIENT_CLOSED` after `client.end()`.
   */
  export interface Mutex {
    /**
     * Waits until this owner holds the lock exclusively.
     *
     * @returns resolves to the function that releases this hold.
     * @throws {AdvisoryLockError} `ERR_LOCK_TIMEOUT`: `options.timeout` passed. Its `cause` is the error of the connection where no
     * server has said that the lock is taken.
     * @throws {AdvisoryLockError} `40P01`: this wait and others wait for each other, and this is the youngest; an owner that
     * holds the lock shared and wants it exclusively is refused at once where another one waits for the same.
     * @throws `signal.reason`: `options.signal` was aborted.
     */
    lock(options: LockOptions & { fencing: true }): Promise<FencedUnlockFunction>
    /** Waits until this owner holds the lock exclusively, with a token and a fence only where `fencing` is true. */
    lock(options?: LockOptions): Promise<UnlockFunction>
    /**
     * Releases one exclusive hold of this owner, the latest first.
     *
     * @returns resolves to `true`, or to `false` if this owner held none.
     * @throws {AdvisoryLockError} `ERR_LOCK_LOST`: the hold was lost before.
     */
    unlock(): Promise<boolean>
    /** Takes the lock exclusively if that is possible without waiting: resolves to `true`, else to `false`. */
    tryLock(): Promise<boolean>
    /** Holds the lock exclusively while a function runs. */
    withLock: WithFencedLock & WithLock
    /** As {@link Mutex.lock}, shared: many owners may hold it so at once, none exclusively meanwhile. */
    lockShared(options: LockOptions & { fencing: true }): Promise<FencedUnlockFunction>
    /** The same, with a token and a fence only where `fencing` is true. */
    lockShared(options?: LockOptions): Promise<UnlockFunction>
    /** As {@link Mutex.unlock}, for one shared hold. */
    unlockShared(): Promise<boolean>
    /** As {@link Mutex.tryLock}, shared. */
    tryLockShared(): Promise<boolean>
    /** As {@link Mutex.withLock}, shared. */
    withLockShared: WithFencedLock & WithLock
    /** Holds the lock exclusively while a function runs, if it can be had without waiting. */
    tryWithLock: TryWithLock
    /** As {@link Mutex.tryWithLock}, shared. */
    tryWithLockShared: TryWithLock
    /**
     * Stands for election: of all processes that do so by this lock, one leads at a time.
     *
     * @param lead runs while this process leads. The next term begins only after it has ended, in this process as in every other: so let
     *   it end when its signal fires, or soon after. A `lead` that has not ended 5 s after that is warned about.
     * @throws {TypeError} `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, {RangeError} `ERR_OUT_OF_RANGE`: an argument.
     * @throws {AdvisoryLockError} `ERR_CLIENT_CLOSED`: the owner is closed.
     * @example
     * const election = mutex.elect((term) => term.every(30 * 60_000, postStats))
     * election.on('error', console.error)
     * process.once('SIGTERM', election.stop)
     */
    elect(lead: (term: FencedTerm) => unknown, options: ElectionOptions & { fencing: true }): Election
    /** Stands for election, with tokens and fences only where `fencing` is true. */
    elect(lead: (term: Term) => unknown, options?: ElectionOptions): Election
    /**
     * Asks the server who holds the lock or waits for it: holders first, then waiters in the order of their coming. It lists
     * sessions; this process has one for all its owners, and its own waiters are not in the server's queue while it holds
     * the lock itself or has more waits than `maxWaitConnections`.
     *
     * @returns resolves to the sessions, none where the lock is free.
     */
    holders(): Promise<LockHolder[]>
  }

  /** The place of the `pg.Client` in the original: tells of the connection's end and loss, and ends it. */
  export interface Client extends EventEmitter {
    /**
     * Gives up every hold and ends every wait (`ERR_CLIENT_CLOSED`) of this owner, stops its elections, and closes what connections
     * no other owner uses. Later calls of its mutexes reject with `ERR_CLIENT_CLOSED`. Calling it again changes nothing.
     *
     * @param callback called when all is closed.
     * @returns resolves when all is closed.
     */
    end(callback?: () => void): Promise<void>
    /** The owner is closed. */
    on(event: 'end', listener: () => void): this
    /** A lock of this owner was lost. Emitted only where somebody listens, so that no loss crashes a process. */
    on(event: 'error', listener: (error: AdvisoryLockError) => void): this
    /** As of every `EventEmitter`. */
    on(event: string | symbol, listener: (...args: any[]) => void): this
    /** The owner is closed. */
    once(event: 'end', listener: () => void): this
    /** A lock of this owner was lost, as for {@link Client.on}. */
    once(event: 'error', listener: (error: AdvisoryLockError) => void): this
    /** As of every `EventEmitter`. */
    once(event: string | symbol, listener: (...args: any[]) => void): this
  }

  /** A session that holds a permit of a semaphore, or waits for one. */
  export interface PermitHolder extends LockHolder {
    /** The number of the permit, 0 … permits − 1; `null` for who waits. */
    slot: number | null
  }

  /**
   * A lock of which several may be held at a time. The methods need no `this` and may be destructured. Every permit is an
   * owner of its own: callers who share a semaphore object count one by one.
   *
   * The methods reject as those of {@link Mutex} do, and with `ERR_SEMAPHORE_MISMATCH` where somebody uses the semaphore with
   * another number of permits at this time. Objects of one owner, name and number share their queue.
   */
  export interface Semaphore {
    /** Waits for a permit: resolves to the function that gives it back. */
    lock(options?: AcquireOptions): Promise<UnlockFunction>
    /**
     * Takes a permit if one is free: resolves to `true`, else to `false`. That takes two round trips, or three for the first permit of
     * this process.
     */
    tryLock(): Promise<boolean>
    /**
     * Gives back the latest permit taken through this object: resolves to `true`, or to `false` where there is none.
     *
     * @throws {AdvisoryLockError} `ERR_LOCK_LOST`: the permit was lost before.
     */
    unlock(): Promise<boolean>
    /** Holds a permit while a function runs. */
    withLock: WithLock
    /** Holds a permit while a function runs, if one is free. */
    tryWithLock: TryWithLock
    /** The sessions that hold a permit, in the order of the permits, then those that wait. */
    holders(): Promise<PermitHolder[]>
  }

  /** What one `advisoryLock(…)` has at a moment, its elections included. A lock of several keys counts once, and so does a permit. */
  export interface Stats {
    /** Locks that are held. */
    held: number
    /** Calls that wait for a lock. */
    waiting: number
    /** Open connections of the process with these settings, which all owners with equal settings share. */
    sessions: number
    /** For how many milliseconds the oldest of the calls has waited; 0 where none waits. */
    oldestWait: number
  }

  /** What the channels of `node:diagnostics_channel` say of a lock. */
  export interface LockSubject {
    /** What the mutex was made of: `null` where that is a key, a list for {@link CreateMutex.all}. */
    name: string | null | Array<string | null>
    /** Its key, or the keys in the order of the names. */
    key: Key | bigint | Array<Key | bigint>
    /** `permit`: of a semaphore. */
    mode: 'exclusive' | 'shared' | 'permit'
  }

  /** What `tracingChannel('advisory-lock:acquire')` tells: one object for each call that asks for a lock, from its start to its end. */
  export interface AcquireTrace extends LockSubject {
    /** Milliseconds from the call to the answer; `undefined` before that. */
    waited: number | undefined
    /** What has come of it; `undefined` before that. `denied`: by a `tryLock`; `failed`: with any other error than these two. */
    outcome: 'granted' | 'denied' | 'timeout' | 'aborted' | 'failed' | undefined
    /** What the call rejects with. */
    error?: unknown
  }

  /** What `tracingChannel('advisory-lock:hold')` tells: one object for each lock that was granted, until it is given up or lost. */
  export interface HoldTrace extends LockSubject {
    /** Milliseconds from the call to the grant. */
    waited: number
    /** Milliseconds from the grant to the end; `undefined` before that. */
    held: number | undefined
    /** How it has ended; `undefined` before that. */
    outcome: 'released' | 'lost' | undefined
    /** Why it is lost. */
    error?: unknown
  }

  /** What `channel('advisory-lock:lost')` tells of each lock that is lost. */
  export interface LostMessage extends LockSubject {
    /** `ERR_LOCK_LOST`. */
    error: AdvisoryLockError
  }

  /** What `channel('advisory-lock:elected')` tells when this process leads. */
  export interface ElectedMessage extends LockSubject {
    /** The term that begins. */
    term: Term
  }

  /** What `channel('advisory-lock:session')` tells of the connections of this process. */
  export interface SessionMessage {
    /** `failed`: it could not be opened. */
    event: 'opened' | 'closed' | 'lost' | 'failed'
    /** Process id of its backend; `null` where there is none. */
    pid: number | null
    /** Address of the server, or path of its socket; `null` where it is not known. */
    address: string | null
    /** The server's port; `null` for a unix socket, or where it is not known. */
    port: number | null
    /** Why it is lost or has failed; `null` otherwise. What a function that gives passwords has failed with is told as it is. */
    error: unknown
  }

  /** Makes mutexes of one owner. */
  export interface CreateMutex {
    /**
     * @param name see {@link Name}.
     * @throws {TypeError} `ERR_INVALID_ARG_TYPE`: none of these.
     * @throws {RangeError} `ERR_OUT_OF_RANGE`: an integer outside 32 bits, or a bigint outside 64.
     */
    (name: Name): Mutex
    /**
     * A mutex of several keys, all or nothing: its `lock` resolves once all of them are held. What is free is not held while
     * another one is waited for, so no order of names makes a deadlock. One unlock function and one signal stand for all;
     * `unlock()` releases the latest hold taken through this mutex object. If one key is lost, all are given back at once.
     *
     * What is free is held for a moment before another key is found to be taken: a `tryLock` of a free key may be refused meanwhile.
     *
     * @param names 1 … 1000 names; one that is there twice counts once.
     * @throws {TypeError} `ERR_INVALID_ARG_TYPE`: no array, or something in it is no {@link Name}.
     * @throws {RangeError} `ERR_OUT_OF_RANGE`: no name, or too many; or a number outside its range.
     */
    all(names: readonly Name[]): Mutex
    /**
     * A semaphore: at most `permits` holders at a time over all processes. Who waits is served first in, first out.
     *
     * @param name see {@link Name}; a semaphore does not conflict with a mutex of the same name.
     * @param permits 1 … 1000, the same for all who use it.
     * @throws {TypeError} `ERR_INVALID_ARG_TYPE`: no name, or no number.
     * @throws {RangeError} `ERR_OUT_OF_RANGE`: no whole number, or outside its range.
     */
    semaphore(name: Name, permits: number): Semaphore
    /** What this owner has at this moment. Asks no server; counts only now, so that a lock costs nothing for it. */
    stats(): Stats
    /** Tells of the connection's end and loss, and ends it. */
    readonly client: Client
    /** The same as `client.end()`. It waits for the leaders of elections to end: no `lead` may await it. */
    close(): Promise<void>
    /** The same as `client.end()`, for `await using`. */
    [Symbol.asyncDispose](): Promise<void>
  }

  /**
   * What this package rejects with. `code` is one of
   * - `ERR_LOCK_LOST`: the connection that held the lock is gone; `cause` is the reason;
   * - `ERR_LOCK_TIMEOUT`: the time limit of the call passed; with a `cause` where no server has said that the lock is taken;
   * - `ERR_CLIENT_CLOSED`: `client.end()` was called;
   * - `ERR_SEMAPHORE_MISMATCH`: somebody uses the semaphore with another number of permits; the message says both;
   * - `ERR_TERM_OVER`: why a {@link Term}'s signal is aborted, other than by a loss;
   * - `ERR_INVALID_URL`, `ERR_INVALID_CONNECTION_STRING`: the connection string, or a file that it names, cannot be used;
   * - `ERR_TLS_NOT_OFFERED`: the server offers no TLS, and it is asked for;
   * - what Node calls a bad certificate (`SELF_SIGNED_CERT_IN_CHAIN`, `DEPTH_ZERO_SELF_SIGNED_CERT`, `CERT_HAS_EXPIRED`,
   *   `UNABLE_TO_VERIFY_LEAF_SIGNATURE`, `ERR_TLS_CERT_ALTNAME_INVALID` …), and `ERR_TLS_CERT_UNSUPPORTED` for one of a kind that is not
   *   read;
   * - `ERR_SSL_…`, `EPROTO`: the TLS handshake failed otherwise;
   * - `ERR_CHANNEL_BINDING`: `channel_binding=require` cannot be met;
   * - `ERR_TLS_IDENTITY_NOT_ASKED`: the server has not asked for the client's certificate, as `sslcertmode=require` wants it to;
   * - `ERR_PASSWORD_FUNCTION`: the function that gives the password has failed without saying why;
   * - `ERR_WRONG_SERVER`: the server is not run by the user that `requirepeer` names;
   * - `ERR_AUTH_METHOD`: the server asks for the password in a way that `require_auth` excludes or that is not supported;
   * - `ERR_SCRAM`: the server does not prove that it knows the password, or asks for more than `scramMaxIterations`;
   * - `25006`: the server cannot be written to, and one that can is asked for, as several hosts do;
   * - `ERR_NO_BINARY`, `ERR_BINARY_NOT_LOADED`: thrown by loading this package; the message says why, and what to do about it;
   * - `ERR_INTERNAL`: a fault of this package, which it has survived;
   * - `ERR_FENCING_UNAVAILABLE`: `fencing` was asked for with `transactionPooling`, and there is no `directConnectionString`;
   * - `ERR_OTHER_DATABASE`: `directConnectionString` leads to another database than the connection string;
   * - `ERR_TRANSACTION_POOLING`: behind a transaction pooler a session lock excludes nobody, see `transactionPooling`;
   * - `ERR_UNSUPPORTED_SERVER`: the server has no working advisory locks;
   * - `40P01`: a deadlock, as PostgreSQL calls it;
   * - the SQLSTATE of the server's error (`28P01` wrong password, `3D000` no such database, `53200` no room for another lock,
   *   `53300` no room for another connection, `08001` a transaction pooler cannot connect to the server);
   * - the system's code (`ECONNREFUSED`, `ENOTFOUND`, `ECONNRESET`; `ETIMEDOUT` after `connectTimeout`), with `address` and
   *   `port` where it has them.
   */
  export class AdvisoryLockError extends Error {
    /**
     * For tests, which may want to throw what a lost lock or a server that is down would.
     *
     * @param failure what happened, of which `code` and `message` are the least.
     * @param cause what led to it.
     */
    constructor(failure: AdvisoryLockFailure, cause?: unknown)
    /** Always the same, also where two copies of this package make `instanceof` say no. */
    readonly name: 'AdvisoryLockError'
    /** What to match on: see {@link AdvisoryLockErrorCode}. */
    readonly code: AdvisoryLockErrorCode
    /** The address that was tried, for errors of the connection. */
    readonly address?: string | undefined
    /** The port that was tried, for errors of the connection. */
    readonly port?: number | undefined
    /** `FATAL` or `ERROR`, for errors of the server. */
    readonly severity?: string | undefined
    /** The server's detail, for errors of the server that have one. */
    readonly detail?: string | undefined
    /** The server's hint, for errors of the server that have one. */
    readonly hint?: string | undefined
  }

  /** What an {@link AdvisoryLockError} says. */
  export type AdvisoryLockFailure = {
    /** What to match on. */
    code: AdvisoryLockErrorCode
    /** What to read. */
    message: string
    /** As {@link AdvisoryLockError.address}. */
    address?: string | undefined
    /** As {@link AdvisoryLockError.port}. */
    port?: number | undefined
    /** As {@link AdvisoryLockError.severity}. */
    severity?: string | undefined
    /** As {@link AdvisoryLockError.detail}. */
    detail?: string | undefined
    /** As {@link AdvisoryLockError.hint}. */
    hint?: string | undefined
  }

  /**
   * The codes that are this package's own, some of others, and any other text: SQLSTATEs, the system's codes and Node's for
   * certificates are too many to be listed. {@link AdvisoryLockError} says what they mean.
   */
  export type AdvisoryLockErrorCode =
    | 'ERR_LOCK_LOST'
    | 'ERR_LOCK_TIMEOUT'
    | 'ERR_CLIENT_CLOSED'
    | 'ERR_SEMAPHORE_MISMATCH'
    | 'ERR_FENCING_UNAVAILABLE'
    | 'ERR_OTHER_DATABASE'
    | 'ERR_TRANSACTION_POOLING'
    | 'ERR_UNSUPPORTED_SERVER'
    | 'ERR_INVALID_URL'
    | 'ERR_INVALID_CONNECTION_STRING'
    | 'ERR_TLS_NOT_OFFERED'
    | 'ERR_TLS_CERT_UNSUPPORTED'
    | 'ERR_TLS_CERT_ALTNAME_INVALID'
    | 'ERR_TLS_IDENTITY_NOT_ASKED'
    | 'ERR_CHANNEL_BINDING'
    | 'ERR_WRONG_SERVER'
    | 'ERR_AUTH_METHOD'
    | 'ERR_SCRAM'
    | 'ERR_NO_BINARY'
    | 'ERR_BINARY_NOT_LOADED'
    | 'ERR_INTERNAL'
    | 'ECONNREFUSED'
    | 'ECONNRESET'
    | 'ENOTFOUND'
    | 'ETIMEDOUT'
    | '25006'
    | '28P01'
    | '3D000'
    | '40P01'
    | '53200'
    | '53300'
    | '08001'
    | (string & {})
}

export = advisoryLock
