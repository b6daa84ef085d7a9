'use strict'

const { Acquiring } = require('./acquire.js')
const mailbox = require('./mailbox.js')
const { PATIENT } = require('./native.js')

/**
 * What one `advisoryLock(…)` has at this moment, its elections included. It is counted when it is asked for, so that a lock costs
 * nothing for it. A lock of several keys counts once, and so does a permit.
 *
 * @param {import('./owner.js').Owner} owner
 */
function statsOf(owner) {
  const owners = new Set(owner.andElections())
  const counts = (locks) => locks.name !== undefined && owners.has(locks.owner)
  let held = 0
  for (const { holds } of owners) for (const { locks } of holds) if (locks.name !== undefined) held++
  let waiting = 0
  let oldest
  for (const call of mailbox.pending.values()) {
    if (!(call instanceof Acquiring) || !(call.flags & PATIENT) || !counts(call.locks)) continue
    waiting++
    // Requests are numbered as they come.
    if (!(call.request > oldest?.request)) oldest = call
  }
  let oldestWait = oldest?.owner.native.waited(oldest.request) ?? 0
  for (const { several } of owners) {
    held += several.holds.size
    waiting += several.waits.size
    const [first] = several.waits
    if (first) oldestWait = Math.max(oldestWait, performance.now() - first.since)
  }
  return { held, waiting, sessions: owner.native?.sessions() ?? 0, oldestWait }
}

module.exports = { statsOf }
