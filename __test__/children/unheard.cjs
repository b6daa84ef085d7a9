'use strict'
// Loses locks that nobody looks at: no listener, no handler. Ends well only if that harms nobody.

const advisoryLock = require('../../index.js')

const [connectionString] = process.argv.slice(2)
const createMutex = advisoryLock(connectionString)

// A held lock does not keep the process alive; the parent's channel does.
process.channel.ref()

async function main() {
  await createMutex('unheard').lock()
  await createMutex('unheard shared').tryLockShared()
  const during = createMutex('unheard with').withLock(() => {
    process.send('holding')
    return new Promise(() => {})
  })
  const code = await during.catch((error) => error.code)
  await createMutex('unheard').withLock()
  process.send(code)
  process.disconnect()
}
main()
