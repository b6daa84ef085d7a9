// Makes calls of factories that nothing refers to besides, and collects garbage until each is answered. Prints how each ended,
// as JSON. Needs `--expose-gc`.

const { setImmediate: turn } = require('node:timers/promises')
const contracts = { 'contract 1': require('../../index.js'), 'contract 2': require('../../v2.js') }

/** @type {Record<string, (createMutex: Function, name: string) => Promise<unknown>>} */
const calls = {
  holders: (createMutex, name) => createMutex(name).holders(),
  lock: (createMutex, name) => createMutex(name).lock(),
  'lock within limits': (createMutex, name) => createMutex(name).lock({ timeout: 60_000, signal: new AbortController().signal }),
  tryLock: (createMutex, name) => createMutex(name).tryLock(),
  withLock: (createMutex, name) => createMutex(name).withLock(() => turn()),
  'the unlock function': async (createMutex, name) => (await createMutex(name).lock())(),
  unlock: async (createMutex, name) => {
    const mutex = createMutex(name)
    await mutex.tryLock()
    return mutex.unlock()
  },
  close: async (createMutex, name) => {
    await createMutex(name).tryLock()
    return createMutex.close()
  },
}

async function main(connectionString) {
  let isDone = false
  const outcomes = Object.entries(contracts).flatMap(([contract, advisoryLock]) =>
    Object.entries(calls).map(async ([call, make]) => {
      const title = `${contract}: ${call}`
      // Connections of its own, so that there is something to wait for.
      await make(advisoryLock(connectionString, { applicationName: title }), title)
      return title
    }),
  )
  const results = Promise.allSettled(outcomes).finally(() => (isDone = true))
  while (!isDone) {
    globalThis.gc()
    await turn()
  }
  console.log(JSON.stringify((await results).map(({ value, reason }) => value ?? String(reason))))
  process.exit()
}

main(...process.argv.slice(2))
