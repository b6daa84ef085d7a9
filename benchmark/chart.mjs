// The results as an SVG: bars for the workloads that have a rate, a curve over the number of names, and one over that of standbys.

import { short, titleOf } from './report.mjs'

const WIDTH = 960
const MARGIN = 24
const LABELS = 190
const ROW = 22
const COLORS = { ours: '#b7410e', other: '#8a97a6', lines: ['#b7410e', '#31688e', '#6a994e'] }
const BARS = ['one-caller-tcp', 'callers-64-tcp', 'callers-512-tcp', 'one-name']
const PANEL = (WIDTH - 3 * MARGIN) / 2
const CURVE_HEIGHT = 220
const STANDBYS_HEIGHT = 160

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
const text = (x, y, content, attributes = '') => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escape(content)}</text>`
const heading = (x, y, content) => text(x, y, content, 'font-weight="bold" font-size="13"')
const small = 'font-size="11" fill="#5b6670"'

/** Bars in proportion, the fastest first; the height that they take. */
function drawBars(x, y, { title, figures }) {
  const entries = Object.entries(figures).sort(([, a], [, b]) => b.rate.median - a.rate.median)
  const room = PANEL - LABELS - 70
  const most = entries[0][1].rate.median
  const parts = [heading(x, y + 12, `${title}: pairs a second`)]
  entries.forEach(([name, { rate }], index) => {
    const top = y + 24 + index * ROW
    const length = Math.max(1, (rate.median / most) * room)
    const color = name === 'ours' ? COLORS.ours : COLORS.other
    parts.push(
      text(x + LABELS - 8, top + 12, titleOf(name), 'text-anchor="end"'),
      `<rect x="${x + LABELS}" y="${top}" width="${length.toFixed(1)}" height="${ROW - 6}" rx="2" fill="${color}"/>`,
      text(x + LABELS + length + 6, top + 12, short(rate.median), small),
    )
  })
  return { svg: parts.join('\n'), height: 24 + entries.length * ROW + MARGIN }
}

/** Rates over the number of names, both by their orders of magnitude. */
function drawCurve(x, y, { title, figures }) {
  const points = (contestant) =>
    Object.entries(contestant).map(([figure, { median }]) => [Math.log10(Number(figure.slice('rate'.length))), Math.log10(median)])
  const all = Object.values(figures).flatMap(points)
  const floor = Math.floor(Math.min(...all.map(([, rate]) => rate)))
  const ceiling = Math.ceil(Math.max(...all.map(([, rate]) => rate)))
  const right = Math.max(...all.map(([names]) => names))
  const [left, top, width, height] = [x + 60, y + 24, PANEL * 1.3, CURVE_HEIGHT - 60]
  const at = ([names, rate]) => [left + (names / right) * width, top + height * (1 - (rate - floor) / (ceiling - floor))]
  const parts = [heading(x, y + 12, `${title}: pairs a second`)]
  for (let power = floor; power <= ceiling; power++) {
    const [, line] = at([0, power])
    parts.push(`<line x1="${left}" x2="${left + width}" y1="${line}" y2="${line}" stroke="#dde2e6"/>`)
    parts.push(text(left - 8, line + 4, short(10 ** power), `text-anchor="end" ${small}`))
  }
  for (const [names] of points(Object.values(figures)[0])) {
    parts.push(text(at([names, floor])[0], top + height + 16, short(10 ** names), `text-anchor="middle" ${small}`))
  }
  parts.push(drawLines(figures, (contestant) => points(contestant).map(at)))
  return { svg: parts.join('\n'), height: CURVE_HEIGHT }
}

/** The server's processor time over the number of standbys, this by its order of magnitude. */
function drawStandbys(x, y, { figures }) {
  const points = (contestant) =>
    Object.entries(contestant).flatMap(([figure, { median }]) => {
      const [, count] = /^server(\d+)$/.exec(figure) ?? []
      return count ? [[Math.log10(Number(count)), median]] : []
    })
  const all = Object.values(figures).flatMap(points)
  const ceiling = Math.max(1, Math.ceil(Math.max(...all.map(([, share]) => share))))
  const most = Math.max(...all.map(([count]) => count))
  const [left, top, width, height] = [x + 60, y + 24, PANEL * 1.3, STANDBYS_HEIGHT - 60]
  const at = ([count, share]) => [left + (most ? count / most : 0) * width, top + height * (1 - share / ceiling)]
  const parts = [heading(x, y + 12, 'processes that stand by for one lock: % of a core that this costs the server')]
  for (let share = 0; share <= ceiling; share += ceiling / 2) {
    const [, line] = at([0, share])
    parts.push(`<line x1="${left}" x2="${left + width}" y1="${line}" y2="${line}" stroke="#dde2e6"/>`)
    parts.push(text(left - 8, line + 4, `${short(share)} %`, `text-anchor="end" ${small}`))
  }
  for (const [count] of points(Object.values(figures)[0])) {
    parts.push(text(at([count, 0])[0], top + height + 16, short(Math.round(10 ** count)), `text-anchor="middle" ${small}`))
  }
  parts.push(drawLines(figures, (contestant) => points(contestant).map(at)))
  return { svg: parts.join('\n'), height: STANDBYS_HEIGHT }
}

/** A line for each contestant, with its name at the end. */
function drawLines(figures, placesOf) {
  const parts = []
  let above = -Infinity
  const lines = Object.entries(figures).map(([name, contestant]) => ({ name, places: placesOf(contestant) }))
  lines.sort((one, other) => one.places.at(-1)[1] - other.places.at(-1)[1])
  for (const [index, { name, places }] of lines.entries()) {
    const color = COLORS.lines[index % COLORS.lines.length]
    const path = places.map((place) => place.map((number) => number.toFixed(1)).join(',')).join(' ')
    parts.push(`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>`)
    for (const [cx, cy] of places) parts.push(`<circle cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="3" fill="${color}"/>`)
    const [endX, endY] = places.at(-1)
    above = Math.max(endY + 4, above + 14)
    parts.push(text(endX + 8, above, titleOf(name), `fill="${color}"`))
  }
  return parts.join('\n')
}

/** @param {object} report what `npm run bench` writes as JSON */
export function draw({ date, machine, versions, results }) {
  const known = new Map(results.map((result) => [result.id, result]))
  const parts = []
  let y = MARGIN
  const bars = BARS.map((id) => known.get(id)).filter(Boolean)
  for (let index = 0; index < bars.length; index += 2) {
    const row = bars.slice(index, index + 2).map((result, column) => drawBars(MARGIN + column * (PANEL + MARGIN), y, result))
    parts.push(...row.map(({ svg }) => svg))
    y += Math.max(...row.map(({ height }) => height))
  }
  if (known.has('curve')) {
    const { svg, height } = drawCurve(MARGIN, y, known.get('curve'))
    parts.push(svg)
    y += height
  }
  if (known.has('standby')) {
    const { svg, height } = drawStandbys(MARGIN, y, known.get('standby'))
    parts.push(svg)
    y += height
  }
  // The notes are wrapped by hand: SVG has no lines of text.
  const notes = [`${date}; ${machine}`, versions.slice(0, 5).join(', '), versions.slice(5).join(', '), 'medians of runs in turn on one machine: compare the bars, not the figures with those of another machine']
  for (const note of notes.filter(Boolean)) parts.push(text(MARGIN, (y += 15), note, small))
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + MARGIN}" viewBox="0 0 ${WIDTH} ${y + MARGIN}" font-family="system-ui, sans-serif" font-size="12" fill="#1f2933">
<rect width="100%" height="100%" fill="#ffffff"/>
${parts.join('\n')}
</svg>
`
}
