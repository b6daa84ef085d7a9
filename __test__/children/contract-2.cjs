'use strict'
// Does one thing by contract 2, as its parameters say, and prints what came of it.

const [module_, connectionString, action] = process.argv.slice(2)
const required = require(module_)
const createMutex = (required.default ?? required)(connectionString)
const print = (text) => console.log(text)

const actions = {
  /** Holds until somebody takes the lock named `alive, go`. */
  async alive() {
    const unlock = await createMutex('alive').lock()
    print('held')
    // Nothing but the hold is left between two looks: a timer without a reference does not keep the process alive.
    const look = async () => {
      const free = await createMutex('alive, go').tryLock()
      if (free) {
        await free()
        setTimeout(look, 100).unref()
      } else {
        await unlock()
        print('released')
      }
    }
    await look()
  },
  async lose() {
    const unlock = await createMutex('lose').lock()
    print('held')
    unlock.signal.addEventListener('abort', () => print('lost'))
    const pg = require('pg')
    const client = new pg.Client(connectionString)
    await client.connect()
    await client.query(
      `SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
       WHERE locktype = 'advisory' AND datname = current_database() AND pid <> pg_backend_pid()`,
    )
    await client.end()
  },
  async close() {
    await createMutex('close').lock()
    print('held')
    await createMutex.close()
    print('closed')
  },
  /** Makes many owners, whose connections would stay open for long, and keeps none; another one holds a lock. */
  async forget() {
    await required(connectionString)('kept').lock()
    for (let round = 0; round < 3; round++) {
      const use = (_, index) => required(connectionString, { idleTimeout: 600_000 })(`name ${index}`).withLock()
      await Promise.all(Array.from({ length: 200 }, use))
    }
    process.send('forgotten')
    require('node:v8').setFlagsFromString('--expose-gc')
    setInterval(require('node:vm').runInNewContext('gc'), 50)
  },
}

actions[action]()
