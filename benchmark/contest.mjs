// Measures several contestants in turn, A B C A B C, so that what disturbs the machine disturbs them all.

export const median = (values) => quantile(values, 0.5)

function quantile(values, part) {
  const sorted = values.toSorted((a, b) => a - b)
  const place = part * (sorted.length - 1)
  const below = Math.floor(place)
  return sorted[below] + (sorted[Math.ceil(place)] - sorted[below]) * (place - below)
}

/** The figures of a report, of several measurements of one thing. */
export const summarize = (values) => ({ median: median(values), quartiles: [quantile(values, 0.25), quantile(values, 0.75)], values })

/**
 * @param {Record<string, () => Promise<Record<string, number>>>} contestants each gives one repetition's figures by name
 * @param {number} repetitions besides one to warm up
 * @returns {Promise<Record<string, Record<string, { median: number, quartiles: [number, number], values: number[] }>>>}
 *   by contestant and figure
 */
export async function contest(contestants, repetitions) {
  const names = Object.keys(contestants)
  const figures = Object.fromEntries(names.map((name) => [name, []]))
  for (const name of names) await contestants[name]()
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const name of names) figures[name].push(await contestants[name]())
  }
  const summaries = (all) => Object.fromEntries(Object.keys(all[0]).map((figure) => [figure, summarize(all.map((one) => one[figure]))]))
  return Object.fromEntries(names.map((name) => [name, summaries(figures[name])]))
}
