// The processes of the soak: starts them, reads what they write down, kills one now and then.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { startProxy } from '../__test__/support/proxy.mjs'

const RECORDS = 3
/** Milliseconds between two signs of life, of which there is one every 100, that are too many. */
const STALL = 250
const SCRIPT = fileURLToPath(new URL('callers.mjs', import.meta.url))
export const now = () => Number(process.hrtime.bigint()) / 1e6

/** Processes of callers, each with a proxy of its own to the server besides the direct way. */
export class Team {
  #members = new Set()
  #started = 0
  #settings
  #choices
  #checker

  /** How often each kind of call ended in which way: `way code` → count. */
  outcomes = new Map()
  /** What went wrong apart from exclusion. */
  failures = []
  /** When a process had no time to run, to explain what is found: `{ at, text }`. */
  history = []

  constructor(settings, choices, checker) {
    this.#settings = settings
    this.#choices = choices
    this.#checker = checker
  }

  async start() {
    const { connectionString, callers, standbys, names } = this.#settings
    const proxy = await startProxy(connectionString)
    const number = this.#started++
    const parameters = {
      number,
      seed: this.#choices.between(0, 2 ** 31 - 1),
      connectionStrings: [connectionString, proxy.connectionString],
      callers,
      standbys,
      names,
    }
    const child = spawn(process.execPath, ['--unhandled-rejections=strict', SCRIPT, JSON.stringify(parameters)], {
      stdio: ['pipe', 'inherit', 'inherit', 'pipe'],
    })
    child.stdin.on('error', () => {})
    const member = { number, child, proxy, seen: now(), killed: undefined, sections: new Set(), blocks: [] }
    this.#members.add(member)
    const records = createInterface({ input: child.stdio[RECORDS], crlfDelay: Infinity })
    records.on('line', (line) => this.#read(member, line.split(' ')))
    member.gone = Promise.all([once(child, 'exit'), once(records, 'close')]).then(([[status, signal]]) => this.#gone(member, status, signal))
  }

  get living() {
    return [...this.#members].filter(({ killed }) => killed === undefined)
  }

  /** Up to when everything has been read that the processes have written. */
  get horizon() {
    return Math.min(...[...this.#members].map(({ seen }) => seen))
  }

  /** Blocks a member's JavaScript thread. Resolves when it runs again, or never will. */
  async block(member, milliseconds) {
    const awake = new Promise((resolve) => member.blocks.push(resolve))
    member.child.stdin.write(`${milliseconds}\n`)
    await Promise.race([awake, member.gone])
  }

  kill(member) {
    member.killed = now()
    member.child.kill('SIGKILL')
    return member.gone
  }

  /** Asks all to end; the numbers of those that did not. */
  async stop(limit) {
    for (const { child } of this.#members) child.stdin.end('over\n')
    const all = Promise.all([...this.#members].map(({ gone }) => gone))
    let timer
    await Promise.race([all, new Promise((resolve) => (timer = setTimeout(resolve, limit)))])
    clearTimeout(timer)
    for (const member of this.#members) {
      this.failures.push(`process ${member.number} did not end by itself within ${limit / 1000} s`)
      await this.kill(member)
    }
  }

  #read(member, [kind, ...words]) {
    const [id] = words
    const at = Number(words.at(-1))
    switch (kind) {
      case 't':
        if (at - member.ticked > STALL) this.history.push({ at, text: `process ${member.number} has not run for ${(at - member.ticked).toFixed(1)} ms` })
        member.ticked = at
        break
      case 'b': {
        const [, name, owner, mode] = words
        member.sections.add(id)
        this.#checker.begin(id, { name, owner, exclusive: mode === 'x', process: member.number }, at)
        break
      }
      case 'e':
        this.#checker.leave(id, at)
        break
      case 'r':
        member.sections.delete(id)
        this.#checker.released(id, at)
        break
      case 'l':
        member.sections.delete(id)
        this.#checker.told(id, at)
        break
      case 'a':
        member.blocks.shift()()
        break
      case 'o': {
        const outcome = words.join(' ')
        this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
        return
      }
      case 's':
        this.failures.push(`process ${member.number}: a call of ${id} hangs`)
        return
    }
    member.seen = at
  }

  #gone(member, status, signal) {
    this.#members.delete(member)
    member.proxy.close()
    if (member.killed === undefined) {
      if (status !== 0) this.failures.push(`process ${member.number} ended with status ${status}, signal ${signal}`)
      if (member.sections.size > 0) this.failures.push(`process ${member.number} ended with ${member.sections.size} holds`)
    }
    for (const id of member.sections) this.#checker.killed(id, member.killed ?? member.seen)
  }
}
