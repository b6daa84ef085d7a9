// Goes through all that NODE_DEBUG=advisory-lock tells of. Prints the error of a call at the end, as Node would show it.

const { once } = require('node:events')
const { inspect } = require('node:util')
const pg = require('pg')
const advisoryLock = require('../../index.js')

async function main(connectionString, plain) {
  const client = new pg.Client({ connectionString: plain })
  await client.connect()
  const [one, two] = [advisoryLock(connectionString), advisoryLock(connectionString)]

  // From hand to hand in the process, which has a short time for that before the server is asked again; then from another session.
  for (let round = 0; round < 20; round++) {
    const unlock = await one('traced name').lock()
    const next = two('traced name').lock()
    await unlock()
    await (await next)()
  }
  const key = advisoryLock.strToKey('busy name')
  await client.query('SELECT pg_advisory_lock($1, $2)', key)
  if (await one('busy name').tryLock()) throw new Error('it is taken')
  const wait = one('busy name').lock()
  const waits = `SELECT count(*)::int AS count FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`
  while ((await client.query(waits)).rows[0].count === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await client.query('SELECT pg_advisory_unlock($1, $2)', key)
  const held = await wait
  await two([1, 2]).withLockShared(() => two(3n).holders())

  const lost = once(held.signal, 'abort')
  await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'advisory-lock-native'`)
  await lost
  const error = await held().catch((reason) => reason)
  console.log(inspect([error, one, one.client, held], { depth: 9, showHidden: true }))
  await Promise.all([one.close(), two.close(), client.end()])
}

main(...process.argv.slice(2))
