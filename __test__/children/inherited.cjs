// Takes locks of each kind while every object inherits what makes a property descriptor invalid. Prints, as JSON, what came of it.

const { once } = require('node:events')
const advisoryLock = require('../../index.js')

/** Runs `fn` in a world where a library has added to `Object.prototype`, for as long as `fn` takes. */
async function inherited(fn) {
  Object.prototype.get = () => 5
  try {
    return await fn()
  } catch (error) {
    return error.message
  } finally {
    delete Object.prototype.get
  }
}

async function main(connectionString) {
  const createMutex = advisoryLock(connectionString)
  await createMutex('warm').withLock(() => {})
  const outcomes = {
    signal: await inherited(async () => {
      const unlock = await createMutex('signal').lock()
      const { aborted } = unlock.signal
      await unlock()
      return aborted
    }),
    withLock: await inherited(() => createMutex('with').withLock(({ aborted }) => aborted, {})),
    semaphore: await inherited(() => createMutex.semaphore('permits', 1).withLock(({ aborted }) => aborted, {})),
    election: await inherited(async () => {
      const election = createMutex('leader').elect((term) => once(term.signal, 'abort'))
      const [term] = await once(election, 'elected')
      const { aborted } = term.signal
      await election.stop()
      return aborted
    }),
  }
  console.log(JSON.stringify({ outcomes, held: createMutex.stats().held }))
  await createMutex.close()
}

main(...process.argv.slice(2))
