'use strict'

const { getSystemErrorName } = require('node:util')
const native = require('../native.js')

/** A command in a process group of its own, signalled and watched as one until nobody of it is left. */
class Group {
  #resolveEnded
  #resolveGone
  /** Resolves when the command itself has ended, to `{ status }` or `{ signal }`, both numbers. */
  ended = new Promise((resolve) => (this.#resolveEnded = resolve))
  /** Resolves when nobody of the group is left. */
  gone = new Promise((resolve) => (this.#resolveGone = resolve))
  /** Is called with the number of the signal that has stopped the command. */
  onStopped = () => {}

  /**
   * @param {string[]} command
   * @param {Record<string, string>} variables added to those of this process
   * @param {import('../../binding.js').Terminal} [terminal] whose foreground group it becomes
   * @returns {Promise<Group>} rejects with the system's `code` where it cannot be started
   */
  static async start(command, variables, terminal) {
    return new Group(command, variables, terminal)
  }

  constructor([file, ...parameters], variables, terminal) {
    const list = Object.entries(variables).map(([name, value]) => ({ name, value }))
    const onNews = (kind, number) => this.#take(kind, number)
    const { group, isGuarded, errno } = native.startCommand(file, parameters, list, terminal, onNews)
    if (errno !== 0) {
      const code = getSystemErrorName(-errno)
      throw Object.assign(new Error(`the system says ${code}`), { code })
    }
    this.number = group
    /** Whether it ends with this process when that is killed. */
    this.isGuarded = isGuarded
  }

  #take(kind, number) {
    if (kind === native.COMMAND_STOPPED) this.onStopped(number)
    else if (kind === native.COMMAND_EXITED) this.#resolveEnded({ status: number })
    else if (kind === native.COMMAND_KILLED) this.#resolveEnded({ signal: number })
    else this.#resolveGone()
  }

  /** Sends a signal to all of the group. */
  signal(name) {
    try {
      process.kill(-this.number, name)
    } catch {
      // Nobody is left, or nobody who may be signalled.
    }
  }
}

module.exports = { Group }
