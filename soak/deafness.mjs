// Who of the team cannot hear: behind a silent network, stopped, or with a blocked thread. The judge is told of those who have
// missed the end of a session meanwhile.

import { now } from './team.mjs'

/** For this long the news of a session's end may be on its way, be caught by a silence, or be read after a grant of that time. */
export const ON_THE_WAY = 300

export class Deafness {
  #checker
  /** By member: since when it hears nothing, for how many reasons, and since when there is something that it has missed. */
  #deaf = new Map()
  /** By member: when sessions of it were ended last, as far as is known. */
  #ended = new Map()

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

  /** Sessions of a member have ended on the server since then. */
  sessionsEnd(member, since = now()) {
    this.#ended.set(member, now())
    const deaf = this.#deaf.get(member)
    if (deaf) deaf.missed ??= since
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
    if (begin - this.#ended.get(member) < ON_THE_WAY) deaf.missed ??= begin - ON_THE_WAY
    return () => {
      if (--deaf.reasons === 0) {
        this.#deaf.delete(member)
        if (deaf.missed !== undefined) {
          this.#checker.deaf(member.number, deaf.missed, now() + ON_THE_WAY)
          // The news is on its way from now on.
          this.#ended.set(member, now())
        }
      }
      return deaf.missed !== undefined
    }
  }
}
