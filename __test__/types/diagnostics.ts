// What a TypeScript caller writes who wants to know what happens. Only compiled, never run.

import { channel, tracingChannel } from 'node:diagnostics_channel'
import advisoryLock from 'advisory-lock-native'
import type { AcquireTrace, AdvisoryLockError, ElectedMessage, HoldTrace, LostMessage, SessionMessage, Stats } from 'advisory-lock-native'
import contract2 from 'advisory-lock-native/v2'
import type * as names from 'advisory-lock-native/v2'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function same<A, B>(_: Equal<A, B>): void {}

const { held, waiting, sessions, oldestWait }: Stats = advisoryLock().stats()
same<typeof held | typeof waiting | typeof sessions | typeof oldestWait, number>(true)
const stats: names.Stats = contract2().stats()
void stats
// @ts-expect-error it is asked without arguments
advisoryLock().stats('name')

tracingChannel<unknown, AcquireTrace>('advisory-lock:acquire').subscribe({
  start({ name, key, mode }) {
    same<typeof mode, 'exclusive' | 'shared' | 'permit'>(true)
    void [name, key]
  },
  end() {},
  asyncStart() {},
  asyncEnd({ waited, outcome }) {
    same<typeof waited, number | undefined>(true)
    if (outcome === 'timeout') return
    // @ts-expect-error there is no such outcome
    if (outcome === 'lost') return
  },
  error({ error }) {
    void error
  },
})

export function ended({ waited, held: time, outcome }: HoldTrace): void {
  same<typeof waited, number>(true)
  same<typeof time, number | undefined>(true)
  same<typeof outcome, 'released' | 'lost' | undefined>(true)
}

channel('advisory-lock:lost').subscribe((message) => {
  const { error } = message as LostMessage
  same<typeof error, AdvisoryLockError>(true)
})
channel('advisory-lock:elected').subscribe((message) => void (message as ElectedMessage).term.verify().then((time) => same<typeof time, Date>(true)))
channel('advisory-lock:session').subscribe((message) => {
  const { event, pid } = message as names.SessionMessage
  same<typeof event, SessionMessage['event']>(true)
  same<typeof pid, number | null>(true)
})
