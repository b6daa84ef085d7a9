// An election under observation: what it tells, in order, and what must be true at every moment.

import assert from 'node:assert/strict'
import { once } from 'node:events'

/** Node's `once`, but a failure of the leader is no failure of the test. */
export const next = (election, event) => new Promise((resolve) => election.once(event, resolve))

/**
 * Notes what an election tells, and checks that its events make sense: `lost` and `resigned` only after `elected`, and one of
 * them for each.
 */
export function watch(election) {
  const events = []
  let term
  const note = (event, what) => events.push({ event, ...what, at: performance.now() })
  election.on('standby', (error) => {
    assert.equal(term, undefined, 'no standby while it leads')
    assert.equal(election.isLeader, false)
    note('standby', { code: error?.code })
  })
  election.on('elected', (elected) => {
    assert.equal(term, undefined, 'two terms at once')
    term = elected
    assert.equal(election.isLeader, true)
    assert.equal(term.signal.aborted, false)
    term.signal.addEventListener('abort', () => assert.equal(election.isLeader, false))
    note('elected')
  })
  for (const end of ['lost', 'resigned']) {
    election.on(end, (error) => {
      assert.ok(term, `${end} without elected`)
      assert.ok(term.signal.aborted, 'the signal is first')
      assert.equal(election.isLeader, false)
      term = undefined
      note(end, { code: error?.code })
    })
  }
  return {
    events,
    /** The names of the events so far. */
    names: () => events.map(({ event }) => event),
    /** The codes that came with the events of a name. */
    codes: (name) => events.filter(({ event }) => event === name).map(({ code }) => code),
    count: (name) => events.filter(({ event }) => event === name).length,
  }
}

/** A leader who ends when its signal fires. */
export const untilOver = async ({ signal }) => {
  if (!signal.aborted) await once(signal, 'abort')
}
