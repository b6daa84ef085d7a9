'use strict'

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const { constants } = require('node:os')

/** In the place of a `Group` on a system without process groups: the one process that was started stands for all. */
class Child {
  #process
  isGuarded = false

  /** @returns {Promise<Child>} rejects with the system's `code` where it cannot be started */
  static async start([file, ...parameters], variables) {
    const process_ = spawn(file, parameters, { stdio: 'inherit', env: { ...process.env, ...variables } })
    const child = new Child(process_)
    await once(process_, 'spawn')
    return child
  }

  constructor(process_) {
    this.#process = process_
    this.ended = new Promise((resolve) => {
      process_.once('exit', (status, signal) => resolve(signal ? { signal: constants.signals[signal] } : { status }))
    })
    this.gone = this.ended
  }

  /** What ends a process ends it; the console brings the others itself. */
  signal(name) {
    if (name === 'SIGTERM' || name === 'SIGKILL') this.#process.kill(name)
  }
}

module.exports = { Child }
