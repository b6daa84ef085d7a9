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

  /** From now on sessions are being ended on the server, until a time that is set when it is known. */
  ending(from) {
    const time = { from, to: Infinity }
    this.#endings.push(time)
    return time
  }

  /** The holder has the lock. Holds of one owner never conflict. */
  begin(id, { name, owner, exclusive, process }, at) {
    const section = { id, name, owner, exclusive, process, from: at, to: Infinity, told: undefined, judged: false }
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

  /** Judges the sections whose end is known, as far as all records up to the time `horizon` have come in. */
  judge(horizon = Infinity) {
    const names = new Set()
    const early = []
    for (const section of this.#ended) {
      if (section.endKnown > horizon) early.push(section)
      else {
        this.#judge(section)
        names.add(section.name)
      }
    }
    this.#ended = early
    for (const name of names) this.#forget(name)
  }

  #judge(earlier) {
    earlier.judged = true
    for (const later of this.#sections.get(earlier.name)) {
      const overlap = later !== earlier && later.from >= earlier.from && later.from < earlier.to
      const conflict = (later.exclusive || earlier.exclusive) && later.owner !== earlier.owner
      if (!overlap || !conflict) continue
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
    const deaf = this.#deaf.filter((time) => time.process === process && time.from <= since)
    if (deaf.length === 0) {
      const isEnding = this.#endings.some((time) => time.from <= since && since <= time.to)
      return (told ?? (isEnding ? to : Infinity)) - since
    }
    const hearing = Math.max(since, ...deaf.map((time) => time.to))
    return (to <= hearing ? to : (told ?? killed ?? Infinity)) - hearing
  }

  /** Drops what no section that is still to be judged can overlap. */
  #forget(name) {
    const sections = this.#sections.get(name)
    const oldest = sections.reduce((time, { judged, from }) => (judged ? time : Math.min(time, from)), Infinity)
    this.#sections.set(name, sections.filter(({ judged, from }) => !judged || from >= oldest))
  }
}
