'use strict'

const PAGE = 128

/**
 * A map from ever-growing numbers, of which the recent ones come and go fast.
 *
 * A `Map` in its place is what the garbage collector spends a third of its time on: each rehash leaves a table that
 * points to the next one, so that dead tables in the old generation keep all that came after them.
 */
class ByNumber {
  /** By number / PAGE: the values of so many numbers. */
  #pages = new Map()
  /** The newest page, which stays though it is empty. */
  #newest = { index: -1, values: [], count: 0 }

  set(number, value) {
    const page = this.#page(Math.floor(number / PAGE))
    const place = number % PAGE
    if (page.values[place] === undefined) page.count++
    page.values[place] = value
  }

  get(number) {
    const index = Math.floor(number / PAGE)
    const page = index === this.#newest.index ? this.#newest : this.#pages.get(index)
    return page?.values[number % PAGE]
  }

  /** Whether it was there. */
  delete(number) {
    const index = Math.floor(number / PAGE)
    const page = index === this.#newest.index ? this.#newest : this.#pages.get(index)
    const place = number % PAGE
    if (page?.values[place] === undefined) return false
    page.values[place] = undefined
    if (--page.count === 0 && page !== this.#newest) this.#pages.delete(index)
    return true
  }

  *values() {
    for (const page of [...this.#pages.values()]) yield* page.values.filter((value) => value !== undefined)
  }

  #page(index) {
    if (index === this.#newest.index) return this.#newest
    let page = this.#pages.get(index)
    if (!page) {
      page = { index, values: new Array(PAGE).fill(undefined), count: 0 }
      this.#pages.set(index, page)
    }
    if (index > this.#newest.index) {
      if (this.#newest.count === 0) this.#pages.delete(this.#newest.index)
      this.#newest = page
    }
    return page
  }
}

module.exports = { ByNumber }
