// Many calls at once, in a process of their own: prints `{ each, pause }`, the microseconds of one call and the longest pause
// of the event loop in milliseconds.

import advisoryLock from '../v2.js'
import contract1 from '../v1.js'

const [url, kind, given] = process.argv.slice(2)
const count = Number(given)
const names = (what) => Array.from({ length: count }, (_, index) => `crowd ${what} ${index}`)

/** Has the event loop say for how long it stood still at most until it is asked. */
function watchPauses() {
  let last = performance.now()
  let longest = 0
  let watching = true
  const look = () => {
    longest = Math.max(longest, performance.now() - last)
    last = performance.now()
    if (watching) setImmediate(look)
  }
  setImmediate(look)
  return () => {
    watching = false
    return Math.max(longest, performance.now() - last)
  }
}

async function measure(act) {
  const longestPause = watchPauses()
  const begin = performance.now()
  await act()
  const each = ((performance.now() - begin) * 1000) / count
  return { each, pause: longestPause() }
}

/** Others hold these names meanwhile. */
async function besideOthers(taken, act) {
  // Another config has a session of its own.
  const others = advisoryLock(url, { applicationName: 'bench others' })
  const unlocks = await Promise.all(taken.map((name) => others(name).lock()))
  const result = await act()
  await Promise.all(unlocks.map((unlock) => unlock()))
  await others.close()
  return result
}

const createMutex = advisoryLock(url)
const kinds = {
  granted: async () => {
    let unlocks
    const result = await measure(async () => {
      unlocks = await Promise.all(names('granted').map((name) => createMutex(name).tryLock()))
    })
    if (!unlocks.every(Boolean)) throw new Error('a free lock was denied')
    await Promise.all(unlocks.map((unlock) => unlock()))
    return result
  },
  denied: () =>
    besideOthers(names('denied'), () =>
      measure(async () => {
        const tried = await Promise.all(names('denied').map((name) => createMutex(name).tryLock()))
        if (tried.some(Boolean)) throw new Error('a lock was taken twice')
      }),
    ),
  mixed: async () => {
    const all = names('mixed')
    const owner = contract1(url)
    const abort = new AbortController()
    const result = await besideOthers(all.slice(count / 2), () =>
      measure(async () => {
        const held = all.slice(0, count / 2).map((name) => owner(name).lock())
        const waits = all.slice(count / 2).map((name) => owner(name).lock({ signal: abort.signal }).catch((error) => error))
        await Promise.all(held)
        abort.abort()
        await Promise.all(waits)
      }),
    )
    await owner.client.end()
    return result
  },
  aborted: async () => {
    const mutex = createMutex('crowd aborted')
    const unlock = await mutex.lock()
    const aborts = Array.from({ length: count }, () => new AbortController())
    const waits = aborts.map(({ signal }) => mutex.lock({ signal }).catch((error) => error))
    const result = await measure(async () => {
      for (const abort of aborts) abort.abort()
      await Promise.all(waits)
    })
    await unlock()
    return result
  },
  shared: () =>
    measure(async () => {
      const mutex = createMutex('crowd shared')
      const unlocks = await Promise.all(Array.from({ length: count }, () => mutex.lockShared()))
      await Promise.all(unlocks.map((unlock) => unlock()))
    }),
  closed: async () => {
    const owners = Array.from({ length: count }, () => contract1(url))
    await Promise.all(owners.map((owner, index) => owner(`crowd closed ${index}`).lock()))
    return measure(() => Promise.all(owners.map((owner) => owner.close())))
  },
}

console.log(JSON.stringify(await kinds[kind]()))
await createMutex.close()
