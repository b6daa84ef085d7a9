// Who of the team cannot hear: behind a silent network, stopped, or with a blocked thread. The judge is told of those who have
// missed the end of a session meanwhile.

import { now } from './team.mjs'

/** For this long the news of a session's end may be on its way, be caught by a silence, or be read after a grant of that time. */
export const ON_THE_WAY = 300

export class Deafness {
  #checker
  /** By member: since when it hears nothing, for how many reasons, and since when there is something that it has missed. */
  #deaf = new Map()
  /** When sessions were ended of which nobody knows whose they were, and by member. */
  #ended = -Infinity
  #endedOf = new Map()

  /** @param {import('./checker.mjs').ExclusionChecker} checker */
  constructor(checker) {
    this.#checker = checker
  }

  /** Up to when it is known who was deaf. */
  get horizon() {
    return Math.min(...[...this.#deaf.values()].map(({ begin }) => begin - ON_THE_WAY))
  }

  has(member) {
    return this.#deaf.has(member)
  }

  /** Sessions end on the server at that time: those of one member, or perhaps of any. */
  sessionsEnd(member, at = now()) {
    if (member) this.#endedOf.set(member, at)
    else this.#ended = at
    for (const [whom, deaf] of this.#deaf) if (!member || whom === member) deaf.missed ??= at
  }

  /**
   * A member hears nothing from now on, for one more reason.
   *
   * @returns {() => boolean} ends that; whether it has missed something
   */
  begin(member) {
    const begin = now()
    const deaf = this.#deaf.get(member) ?? { begin, reasons: 0, missed: undefined }
    this.#deaf.set(member, deaf)
    deaf.reasons++
    const ended = Math.max(this.#ended, this.#endedOf.get(member) ?? -Infinity)
    if (begin - ended < ON_THE_WAY) deaf.missed ??= begin - ON_THE_WAY
    return () => {
      if (--deaf.reasons === 0) {
        this.#deaf.delete(member)
        if (deaf.missed !== undefined) this.#checker.deaf(member.number, deaf.missed, now() + ON_THE_WAY)
      }
      return deaf.missed !== undefined
    }
  }
}
