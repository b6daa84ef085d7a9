// What one call costs beside many others, and for how long the event loop stands still: nobody is to be slowed down by others.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { contest } from './contest.mjs'
import { goal, ratio } from './measures.mjs'

const CROWD = fileURLToPath(new URL('crowd.mjs', import.meta.url))
/** What is done by so many at once, each kind in a process of its own. */
const KINDS = {
  granted: 'tryLock of as many names that are free',
  denied: 'tryLock of as many names that others hold',
  mixed: 'lock by one owner: half of them wait',
  aborted: 'abort of a waiter among as many of one name',
  shared: 'lockShared and unlock of one name by as many',
  closed: 'close of an owner with a hold, among as many',
}

/** As many calls as say so, of each kind: microseconds for one of them, and the longest pause of the event loop. */
const run = (url, count) => async () => {
  const figures = {}
  for (const kind of Object.keys(KINDS)) {
    const child = spawn(process.execPath, [CROWD, url, kind, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = await once(child.stdout.setEncoding('utf8'), 'data')
    await once(child, 'exit')
    const { each, pause } = JSON.parse(line)
    figures[kind] = each
    figures[`${kind}Pause`] = pause
  }
  return figures
}

export const stalls = {
  id: 'stalls',
  title: 'one call among many',
  show: 'denied',
  units: Object.fromEntries(
    Object.entries(KINDS).flatMap(([kind, what]) => [
      [kind, `µs, ${what}`],
      [`${kind}Pause`, `ms, longest pause of that, ${kind}`],
    ]),
  ),
  goals: (figures) => [
    goal('times as much for a tryLock that is denied as for one that is granted', ratio(figures.ours.denied, figures.ours.granted), 1.5),
    goal('ms of the longest pause meanwhile', figures.ours.deniedPause.median, 50),
    ...Object.entries(KINDS).map(([kind, what]) =>
      goal(`times as much for one call among 10,000 as among 1,000: ${what}`, ratio(figures.ours[kind], figures['ours, 1,000'][kind]), 2),
    ),
  ],
  measure: ({ server, repetitions, quick }) =>
    contest({ ours: run(server.tcp, 10_000), 'ours, 1,000': run(server.tcp, 1000) }, quick ? 1 : repetitions),
}
