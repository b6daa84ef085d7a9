import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Posts stats at each full interval of the clock until `over` is aborted. A tick has the same number in every process, and
 * goes out only at its very beginning: who takes over in the middle of one waits for the next.
 */
export async function postStats(webhook: string, interval: number, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const tick = Math.floor(Date.now() / interval) + 1
    try {
      // Timers may be early by a millisecond.
      while (Date.now() < tick * interval) await sleep(tick * interval - Date.now(), undefined, { signal: over })
      await post(webhook, tick)
    } catch (error) {
      if (!over.aborted) console.error(`stats of tick ${tick}:`, error)
    }
  }
}

async function post(webhook: string, tick: number): Promise<void> {
  const response = await fetch(webhook, {
    method: 'POST',
    // No lock can reach a message that is on its way when the leader's connection dies: let the receiver tell one that
    // comes twice.
    headers: { 'content-type': 'application/json', 'idempotency-key': `stats-${tick}` },
    body: JSON.stringify({ tick, from: process.pid, memory: process.memoryUsage.rss() }),
    signal: AbortSignal.timeout(10_000),
  })
  if (!response.ok) throw new Error(`the webhook answered ${response.status}`)
}
