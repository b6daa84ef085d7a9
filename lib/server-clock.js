'use strict'

/**
 * The clock of the database's server as far as this process knows it, which no clock of this machine has a say in: two
 * processes that ask one server agree on it. It is never ahead of the server's, but for what either drifts between two looks.
 */
class ServerClock {
  /** What is added to the monotonic time of this process. */
  #offset = -Infinity

  /**
   * The server said `time` at some moment between `sent` and `received`.
   *
   * @param {number} time of the server, in milliseconds since 1970
   * @param {number} sent by `performance.now()`
   * @param {number} received by `performance.now()`
   */
  set(time, sent, received) {
    const least = time - received
    const most = time - sent
    // A quicker answer tells more, unless the clock has been set back since.
    this.#offset = this.#offset > most ? least : Math.max(this.#offset, least)
  }

  /** Milliseconds since 1970. */
  now() {
    return this.#offset + performance.now()
  }
}

module.exports = { ServerClock }
