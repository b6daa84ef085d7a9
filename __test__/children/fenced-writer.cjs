'use strict'
// Stands for election with fencing. Whoever leads writes in fenced transactions, one writer for each isolation level, and goes on
// after its term is over until it is refused: what a leader does that has not heard of its end.
//
// Tells its parent `{ elected }` with the token, once it has noted how many rows of former leaders it has found, and `{ over }`.

const { once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')
const pg = require('pg')
const advisoryLock = require('../../index.js')

const [lockUrl, url, name] = process.argv.slice(2)
const pool = new pg.Pool({ connectionString: url, max: 12, application_name: 'writer' })
const tell = (what) => process.connected && process.send(what, () => {})
const REFUSALS = 2

async function write(level, { token, fence }) {
  const client = await pool.connect()
  let refused = 0
  while (refused < REFUSALS) {
    await client.query(`BEGIN ISOLATION LEVEL ${level}`)
    try {
      await client.query(fence)
      await client.query('INSERT INTO writes (lock, token, level) VALUES ($1, $2, $3)', [name, token, level])
      await sleep(Math.random() * 8)
      await client.query('COMMIT')
    } catch (error) {
      if (error.code !== '55000') throw error
      refused++
      await client.query('ROLLBACK')
    }
  }
  client.release()
  tell({ refused })
}

const election = advisoryLock(lockUrl, { heartbeat: 100, answerTimeout: 250 })(name).elect(
  async (term) => {
    await pool.query(
      'INSERT INTO grants (lock, token, seen) SELECT $1, $2, count(*) FROM writes WHERE lock = $1 AND token < $2',
      [name, term.token],
    )
    tell({ elected: String(term.token) })
    for (const level of ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE']) void write(level, term)
    if (!term.signal.aborted) await once(term.signal, 'abort')
    tell({ over: String(term.token) })
  },
  { fencing: true, backoff: { min: 5, max: 50 } },
)
election.on('error', (error) => {
  throw error
})
process.on('disconnect', () => process.exit())
