/** Posts what happens at a tick, whose time is the same in every process. */
export async function postStats(webhook: string, tick: Date): Promise<void> {
  const response = await fetch(webhook, {
    method: 'POST',
    // No lock can reach a message that is on its way when the leader's connection dies: let the receiver tell one that
    // comes twice.
    headers: { 'content-type': 'application/json', 'idempotency-key': `stats ${tick.toISOString()}` },
    body: JSON.stringify({ tick, from: process.pid, memory: process.memoryUsage.rss() }),
    signal: AbortSignal.timeout(10_000),
  })
  if (!response.ok) throw new Error(`the webhook answered ${response.status} for ${tick.toISOString()}`)
}
