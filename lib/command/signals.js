'use strict'

// The signals that come to a command of this package. Nothing but Node.js's own modules is loaded here: while nobody listens,
// SIGUSR1 opens a debugger's port, and all others end the process.

const { constants } = require('node:os')

/** They cannot be caught, or tell of a fault in this very process. */
const UNCAUGHT = ['SIGKILL', 'SIGSTOP', 'SIGILL', 'SIGTRAP', 'SIGBUS', 'SIGFPE', 'SIGSEGV', 'SIGSYS']
/** They stop a process and let it go on. While there is no command, that is what they do to this one. */
const JOB_CONTROL = ['SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGCONT']
/** Nobody sends it. */
const OF_CHILDREN = 'SIGCHLD'
/** They end nobody who does not ask for it; Node.js ignores the last two. */
const HARMLESS = new Set(['SIGURG', 'SIGWINCH', 'SIGINFO', 'SIGPIPE', 'SIGXFSZ'])

/** All others that this system has, each by one of its names. */
const caught = Object.entries(constants.signals)
  .filter(([name, number], index, all) => all.findIndex(([, other]) => other === number) === index && name !== OF_CHILDREN)
  .map(([name]) => name)
  .filter((name) => !UNCAUGHT.includes(name) && !JOB_CONTROL.includes(name))

/** Listens from its making on, and hands each signal to whoever takes it at the time. */
class Signals {
  #stopping = new AbortController()
  #receive = (signal) => {
    if (!HARMLESS.has(signal)) this.#stopping.abort(signal)
  }
  #listener = (signal) => this.#receive(signal)

  constructor() {
    this.#listen(caught)
  }

  /** Fires, with the signal's name as the reason, when one comes while nobody receives them that would end a process. */
  get stopped() {
    return this.#stopping.signal
  }

  /** Hands all signals to `receive` from now on, those of job control too. */
  handTo(receive) {
    this.#receive = receive
    this.#listen(JOB_CONTROL)
  }

  /** From now on they do nothing at all. */
  drop() {
    this.#receive = () => {}
  }

  /** Lets a signal do to this process what it does by default; until `listenAgain`. */
  release(signal) {
    process.off(signal, this.#listener)
  }

  listenAgain(signal) {
    this.#listen([signal])
  }

  #listen(signals) {
    for (const signal of signals) {
      try {
        process.on(signal, this.#listener)
      } catch {
        // Not on this system.
      }
    }
  }
}

module.exports = { Signals }
