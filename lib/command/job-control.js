'use strict'

const { fstatSync } = require('node:fs')
const { constants } = require('node:os')
const { isatty } = require('node:tty')
const native = require('../native.js')

const { SIGTTIN, SIGTTOU, SIGINT, SIGQUIT } = constants.signals
/** After so many milliseconds a process that was to be stopped has been stopped, or the system has seen that nobody could let it go on. */
const STOPPING = 50

/**
 * Shares a terminal between the command, which has a process group of its own, and the shell that has started this process:
 * whoever's turn it is reads from it, and is sent SIGINT by Ctrl-C and SIGTSTP by Ctrl-Z.
 *
 * The command has its turn from the start where nobody else of this process's group could miss it; else the group keeps its
 * turn, this process hands on what it is sent, and the command gets its turn when it asks for it.
 */
class JobControl {
  #terminal
  #own = native.ownPlace()
  #signals
  #group
  #hadItsTurn = false
  #isStopped = false

  /**
   * @param {import('./signals.js').Signals} signals
   * @returns {JobControl | undefined} nothing where no terminal controls this process
   */
  static open(signals) {
    const terminal = native.openTerminal?.()
    return terminal ? new JobControl(terminal, signals) : undefined
  }

  constructor(terminal, signals) {
    this.#terminal = terminal
    this.#signals = signals
  }

  get #isOurTurn() {
    return this.#terminal.foreground === this.#own.group
  }

  get #isItsTurn() {
    return this.#group !== undefined && [this.#group.number, 0].includes(this.#terminal.foreground)
  }

  /** The terminal, where the command is to have its turn from the start. */
  get terminalAtStart() {
    const isAlone = this.#own.leadsGroup && isatty(0) && !isPipe(1)
    return isAlone && this.#isOurTurn ? this.#terminal : undefined
  }

  /** @param {import('./group.js').Group} group that has started */
  attach(group) {
    this.#group = group
    group.onStopped = (signal) => this.#onStopped(signal)
  }

  /** The command could not be started, though it may have had its turn already. */
  takeBack() {
    if (!this.#isOurTurn) this.#terminal.give(this.#own.group)
  }

  /** The command has stopped. */
  #onStopped(signal) {
    const asks = signal === SIGTTIN || signal === SIGTTOU
    if (asks && this.#isOurTurn) return this.#continueCommand(true)
    this.#hadItsTurn = this.#isItsTurn
    if (this.#hadItsTurn) this.#terminal.give(this.#own.group)
    this.#isStopped = true
    const stop = signal === SIGTTIN ? 'SIGTTIN' : 'SIGTSTP'
    this.#signals.release(stop)
    // Those of this process's group have missed what was sent to the command's.
    process.kill(this.#hadItsTurn ? 0 : process.pid, stop)
    // It has stopped before this is over, and goes on when the shell says so; at once where there is no such shell.
    setTimeout(() => {
      this.#signals.listenAgain(stop)
      if (this.#isStopped) this.onContinued()
    }, STOPPING)
  }

  /** This process goes on, or somebody wants the command to. */
  onContinued() {
    const wasStopped = this.#isStopped
    this.#isStopped = false
    this.#continueCommand(wasStopped && this.#hadItsTurn && this.#isOurTurn)
  }

  #continueCommand(hasItsTurn) {
    if (hasItsTurn) this.#terminal.give(this.#group.number)
    this.#group.signal('SIGCONT')
  }

  /**
   * Nobody of the command is left: the terminal is this process's again. A Ctrl-C that has ended the command ends as well
   * who would have been sent it, were the command no group of its own.
   *
   * @param {{ signal?: number }} end
   */
  detach({ signal }) {
    if (!this.#isItsTurn) return
    this.#terminal.give(this.#own.group)
    if ((signal === SIGINT || signal === SIGQUIT) && !this.#own.leadsGroup) process.kill(0, signal)
  }

  /**
   * Whether this process, ended by a signal, must not end with a status in its place: a shell that runs a script on this
   * terminal would go on with the next line after a Ctrl-C.
   */
  mustEndBySignal(signal) {
    return signal === SIGINT && this.#isOurTurn && !this.#own.leadsSession && [0, 1, 2].some((stream) => isatty(stream))
  }
}

function isPipe(stream) {
  try {
    return fstatSync(stream).isFIFO()
  } catch {
    return false
  }
}

module.exports = { JobControl }
