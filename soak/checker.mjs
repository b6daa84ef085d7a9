// Proves from the records of critical sections that no exclusive hold overlapped another one whose holder had not been told.
//
// A section lasts from the moment when its holder had the lock to the moment when it let go, was told of the loss, or was
// killed, in milliseconds of one monotonic clock. The server gives the locks of an ended session to the next at once, and
// tells the holder in the same moment: its news may arrive a little after the next has begun. How much is the `notice`. So a
// second holder is well if one of the two was told within that time; or as soon as its process could hear, where it was deaf:
// a session can end on the server while the network is silent. Who let go or was killed before that had nothing to hear, nor
// had who let go, by handing on inside its process, while the news of its session's end was on the way.

export class ExclusionChecker {
  #open = new Map()
  #ended = []
  #sections = new Map()
  #deaf = []
  #endings = []
  #notice

  /** What was found: `{ message, earlier, later, nearby }`. */
  violations = []
  /** Sections so far. */
  count = 0
  /** Pairs of which the earlier holder was told of its loss after the later one had begun, and the longest such time. */
  overlaps = 0
  longestOverlap = 0
  /** Pairs of which one holder could not be told before it let go. */
  unheard = 0

  /** @param {number} notice milliseconds that the news of a loss may take */
  constructor(notice) {
    this.#notice = notice
  }

  /** From one time to the other a process could not be told that the server had ended its sessions. */
  deaf(process, from, to) {
    this.#deaf.push({ process, from, to })
  }

  /** From one time to the other sessions of a process may have been ended on the server. */
  ending(process, from, to) {
    this.#endings.push({ process, from, to })
  }

  /** The holder has the lock. Holds of one owner never conflict. */
  begin(id, { name, owner, exclusive, process }, at) {
    const section = { id, name, owner, exclusive, process, from: at, to: Infinity, told: undefined, endKnown: Infinity, judged: false }
    this.#open.set(id, section)
    const others = this.#sections.get(name)
    if (others) others.push(section)
    else this.#sections.set(name, [section])
    this.count++
  }

  /** The holder is about to give the lock back. */
  leave(id, at) {
    const section = this.#open.get(id)
    if (section) section.to = at
  }

  /** It has given it back. */
  released(id, at) {
    this.#end(id, at)
  }

  /** It was told that the lock is lost, during the section or when it gave the lock back. */
  told(id, at) {
    const section = this.#open.get(id)
    if (!section) return
    section.told = at
    this.#end(id, at)
  }

  /** The holder's process was killed, not before that time. */
  killed(id, at) {
    const section = this.#open.get(id)
    if (section) section.killed = at
    this.#end(id, at)
  }

  /** Sections that have not ended. */
  open() {
    return [...this.#open.keys()]
  }

  #end(id, at) {
    const section = this.#open.get(id)
    if (!section) return
    this.#open.delete(id)
    section.to = Math.min(section.to, at)
    section.endKnown = at
    this.#ended.push(section)
  }

  /** Judges the sections as soon as all is known of those beside them, for which all records up to `horizon` have come in. */
  judge(horizon = Infinity) {
    const names = new Set()
    const early = []
    for (const section of this.#ended) {
      const beside = this.#conflicting(section)
      if ([section, ...beside].some(({ endKnown }) => endKnown > horizon)) early.push(section)
      else {
        this.#judge(section, beside)
        names.add(section.name)
      }
    }
    this.#ended = early
    for (const name of names) this.#forget(name)
  }

  /** Those of others that began in the midst of this one, though one of both was to be alone. */
  #conflicting(earlier) {
    return this.#sections.get(earlier.name).filter((later) => {
      const overlap = later !== earlier && later.from >= earlier.from && later.from < earlier.to
      return overlap && (later.exclusive || earlier.exclusive) && later.owner !== earlier.owner
    })
  }

  #judge(earlier, beside) {
    earlier.judged = true
    for (const later of beside) {
      const unnoticed = Math.min(this.#unnoticed(earlier, later.from), this.#unnoticed(later, later.from))
      if (unnoticed <= 0) this.unheard++
      else if (unnoticed <= this.#notice) {
        this.overlaps++
        this.longestOverlap = Math.max(this.longestOverlap, unnoticed)
      } else {
        const told = unnoticed === Infinity ? 'nobody was told' : `only told ${unnoticed.toFixed(1)} ms later`
        const message = `"${earlier.name}" had two holders, ${told}`
        this.violations.push({ message, earlier, later, nearby: this.#nearby(earlier, later) })
      }
    }
  }

  /** What its name's other sections were about that time. */
  #nearby(earlier, later) {
    const { name, from, to } = earlier
    const isNear = (other) => other !== earlier && other !== later && other.to > from - 100 && other.from < to + 100
    return this.#sections.get(name).filter(isNear)
  }

  /** How long a holder that could hear was not told; not above 0 if it could not. */
  #unnoticed({ told, killed, process, to }, since) {
    const hearing = this.#hearing(process, since)
    if (hearing > since) return (to <= hearing ? to : (told ?? killed ?? Infinity)) - hearing
    const isEnding = this.#endings.some((time) => time.process === process && time.from <= since && since <= time.to)
    return (told ?? (isEnding ? to : Infinity)) - since
  }

  /** From when on a process can hear what happened at that time. One deafness may begin in another. */
  #hearing(process, since) {
    let hearing = since
    for (;;) {
      const deaf = this.#deaf.find((time) => time.process === process && time.from <= hearing && hearing < time.to)
      if (!deaf) return hearing
      hearing = deaf.to
    }
  }

  /** Drops what no section that is still to be judged can overlap. */
  #forget(name) {
    const sections = this.#sections.get(name)
    const oldest = sections.reduce((time, { judged, from }) => (judged ? time : Math.min(time, from)), Infinity)
    this.#sections.set(name, sections.filter(({ judged, from }) => !judged || from >= oldest))
  }
}
