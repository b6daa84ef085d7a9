// Never two holders: processes add to a counter in the database by reading and then writing it.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDatabase } from './support/database.mjs'
import { startChild } from './support/process.mjs'

const database = await openDatabase()

for (const { processes, callers, rounds, ways } of [
  { processes: 2, callers: 2, rounds: 60, ways: 'lock,withLock' },
  { processes: 4, callers: 1, rounds: 60, ways: 'withLock' },
  { processes: 4, callers: 5, rounds: 12, ways: 'lock,withLock,tryLock,timeout,shared' },
]) {
  test(`${processes} processes, ${callers} callers each: ${ways}`, async () => {
    await database.sql.query(`
      DROP TABLE IF EXISTS counter, room;
      CREATE TABLE counter (n int); INSERT INTO counter VALUES (0);
      CREATE TABLE room (inside int); INSERT INTO room VALUES (0)`)
    const children = Array.from({ length: processes }, () =>
      startChild('counter', database.connectionString, callers, rounds, ways),
    )
    after(() => children.forEach((child) => child.kill()))
    for (const child of children) {
      assert.equal(await child.next(), 'done')
      assert.deepEqual(await child.exited, { status: 0, signal: null })
    }
    assert.equal(await database.value('SELECT n FROM counter'), processes * callers * rounds)
  })
}
