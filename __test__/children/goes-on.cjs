'use strict'

// Holds a lock and asks whether it still does, and hands another one on among its own callers, as fast as it can, until either is
// lost. Told when somebody else had them, it prints how often it went on after that.

const { createInterface } = require('node:readline')
const { default: advisoryLock } = require('../../v2.js')

const [connectionString, held, handed] = process.argv.slice(2)
const now = () => Number(process.hrtime.bigint()) / 1e6
const createMutex = advisoryLock(connectionString, { applicationName: 'goes on' })
/** When it was asked whether the lock is lost, of those times when it was not. */
const asked = { aborted: [], throwIfAborted: [] }
/** When the lock was given up that somebody else here got then. */
const handedOn = []
/** Once the locks are lost, which is one loss, callers would wait for whoever has them. */
const end = new AbortController()
let isOver = false

async function ask() {
  const { signal } = await createMutex(held).lock()
  console.log(JSON.stringify({ event: 'held' }))
  for (let count = 0; ; count++) {
    const at = now()
    try {
      if (count % 2 === 0) signal.throwIfAborted()
      else if (signal.aborted) return
    } catch {
      return
    }
    asked[count % 2 === 0 ? 'throwIfAborted' : 'aborted'].push(at)
    await new Promise(setImmediate)
  }
}

async function handOn() {
  try {
    for (let releasedAt = now(); ; ) {
      const unlock = await createMutex(handed).lock({ signal: end.signal })
      handedOn.push(releasedAt)
      releasedAt = now()
      await unlock()
    }
  } catch {
    return
  }
}

void Promise.all([ask().then(() => end.abort()), handOn(), handOn(), handOn()]).then(() => (isOver = true))

createInterface({ input: process.stdin }).on('line', async (line) => {
  const since = Number(line)
  while (!isOver) await new Promise(setImmediate)
  const later = (times) => times.filter((at) => at > since).length
  const counts = { aborted: later(asked.aborted), throwIfAborted: later(asked.throwIfAborted), handedOn: later(handedOn) }
  process.stdout.write(`${JSON.stringify({ event: 'over', ...counts })}\n`, () => process.exit())
})
