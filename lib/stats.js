'use strict'

const { Acquiring } = require('./acquire.js')
const mailbox = require('./mailbox.js')
const { PATIENT } = require('./native.js')
const { unfencedHolds } = require('./unfenced-holds.js')

/**
 * What one `advisoryLock(…)` has at this moment, its elections included. It is counted when it is asked for, so that a lock costs
 * nothing for it. A lock of several keys counts once, and so does a permit.
 *
 * @param {import('./owner.js').Owner} owner
 */
function statsOf(owner) {
  const owners = new Set(owner.andElections())
  const counts = (locks) => locks.name !== undefined && owners.has(locks.owner)
  const taken = []
  for (const { holds } of owners) for (const hold of holds) if (hold.locks.name !== undefined) taken.push(hold)
  for (const { several } of owners) taken.push(...several.holds)
  const held = taken.filter((hold) => !unfencedHolds.has(hold)).length
  // Who waits for a fence still waits. Who waits for nothing has no such moment.
  const since = taken.map((hold) => unfencedHolds.get(hold)).filter((moment) => moment !== undefined)
  let waiting = since.length
  let oldest
  for (const call of mailbox.pending.values()) {
    if (!(call instanceof Acquiring) || !(call.flags & PATIENT) || !counts(call.locks)) continue
    waiting++
    // Requests are numbered as they come.
    if (!(call.request > oldest?.request)) oldest = call
  }
  let oldestWait = oldest?.locks.owner.native.waited(oldest.request) ?? 0
  for (const { several } of owners) {
    waiting += several.waits.size
    const [first] = several.waits
    if (first) since.push(first.since)
  }
  const now = performance.now()
  for (const moment of since) oldestWait = Math.max(oldestWait, now - moment)
  return { held, waiting, sessions: owner.native?.sessions() ?? 0, oldestWait }
}

module.exports = { statsOf }
