import { setTimeout as sleep } from 'node:timers/promises'
import type { Mutex } from 'advisory-lock-native'

/** How long to stand back after an error: the database may be restarting. */
const PAUSE = 2000

export interface Election {
  /** Whether this process leads now. */
  readonly leading: boolean
  /** Resolves once the process has stepped down, or has stopped waiting. */
  readonly over: Promise<void>
}

/**
 * Stands for election, again and again, until `shutdown` is aborted. Whoever holds the lock leads.
 *
 * @param mutex the same name in every process
 * @param lead what the leader does until its signal is aborted: the lock is lost, or the process shuts down
 */
export function standForElection(mutex: Mutex, lead: (over: AbortSignal) => Promise<void>, shutdown: AbortSignal): Election {
  let leading = false
  const term = async (lost: AbortSignal): Promise<void> => {
    leading = true
    const fall = (): void => void (leading = false)
    lost.addEventListener('abort', fall)
    try {
      await lead(AbortSignal.any([lost, shutdown]))
    } finally {
      fall()
    }
  }
  const stand = async (): Promise<void> => {
    while (!shutdown.aborted) {
      try {
        await mutex.withLock(term, { signal: shutdown })
      } catch (error) {
        if (shutdown.aborted) return
        // The lock was lost, or the database is away: others lead meanwhile.
        console.error('leader election:', error)
        await sleep(PAUSE, undefined, { signal: shutdown }).catch(() => {})
      }
    }
  }
  const over = stand()
  return {
    get leading() {
      return leading
    },
    over,
  }
}
