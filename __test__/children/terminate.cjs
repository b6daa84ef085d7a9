'use strict'
// Ends the session that holds a lock, waits until another one has it, and ends that one as well.

const pg = require('pg')
const { strToKey } = require('../../index.js')

const [connectionString, name, holder] = process.argv.slice(2)

async function main() {
  const client = new pg.Client({ connectionString })
  await client.connect()
  await client.query('SELECT pg_terminate_backend($1, 5000)', [Number(holder)])
  for (;;) {
    const { rows } = await client.query(
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted
       AND classid = $1::int8 & 4294967295 AND objid = $2::int8 & 4294967295`,
      strToKey(name),
    )
    if (rows.length > 0) break
  }
  await client.end()
}
main()
