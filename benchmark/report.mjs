// The results in words.

import { peers } from './peers.mjs'

export const titleOf = (name) => peers[name]?.title ?? peers[name]?.package ?? name

/** Three significant digits. */
export const short = (value) =>
  Number.isNaN(value) ? '–' : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))

/** A table: a row for each contestant, a column for each figure. */
export function describe({ title, units, figures }) {
  const columns = Object.keys(units).filter((figure) =>
    Object.values(figures).some((contestant) => contestant[figure] && !Number.isNaN(contestant[figure].median)),
  )
  const cell = (summary) => {
    if (!summary || Number.isNaN(summary.median)) return ''
    const [low, high] = summary.quartiles
    return `${short(summary.median)} [${short(low)}–${short(high)}]`
  }
  const rows = [
    ['', ...columns.map((figure) => units[figure] || figure)],
    ...Object.entries(figures).map(([name, contestant]) => [titleOf(name), ...columns.map((figure) => cell(contestant[figure]))]),
  ]
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const lines = rows.map((row) => row.map((text, column) => (column ? text.padStart(widths[column]) : text.padEnd(widths[0]))).join('  '))
  return [`## ${title}`, ...lines].join('\n')
}

/** What is reached, and what is not. */
export function describeGoals(results) {
  const lines = results.flatMap(({ title, goals }) =>
    goals.map(({ text, value, limit, better, met }) => `${met ? '✓' : '✗'} ${title}: ${short(value)} ${text} (${better} ${limit})`),
  )
  return ['## Goals', ...lines].join('\n')
}
