// `npm run bench`: this package beside others, in one run, in turn. Prints a table, and writes JSON and a chart.
//
//   npm run bench -- [--quick] [--only <text>[,<text>…]] [--json <file>] [--svg <file>] [--repetitions <n>] [--milliseconds <n>]
//
// Ratios within one run say something; figures of one machine do not, still less of a busy one.

import { readdirSync, statSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { draw } from './chart.mjs'
import { peers, versionOf } from './peers.mjs'
import { findPgbench } from './processes.mjs'
import { describe, describeGoals } from './report.mjs'
import { openServer } from './server.mjs'
import { workloads } from './workloads.mjs'

async function main() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      json: { type: 'string' },
      svg: { type: 'string' },
      repetitions: { type: 'string' },
      milliseconds: { type: 'string' },
    },
  })
  const chosen = workloads.filter(({ id }) => values.only.split(',').some((text) => id.includes(text)))
  if (chosen.length === 0) throw new Error(`no workload is named so; there are ${workloads.map(({ id }) => id).join(', ')}`)
  const repetitions = Number(values.repetitions ?? (values.quick ? 3 : 7))
  const milliseconds = Number(values.milliseconds ?? (values.quick ? 100 : 1000))
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-bench-'))
  const server = await openServer()
  try {
    const pgbench = await findPgbench(folder)
    const environment = describeEnvironment(server, pgbench)
    console.log(`${environment.machine}; ${environment.versions.join(', ')}`)
    console.log(`${repetitions} repetitions of ${milliseconds} ms, in turn; medians, and quartiles in brackets`)
    const results = []
    for (const { id, title, show, units, measure, goals } of chosen) {
      const begin = performance.now()
      const figures = await measure({ server, pgbench, repetitions, milliseconds, quick: values.quick })
      const result = { id, title, show, units, figures, goals: goals(figures) }
      results.push(result)
      console.log(`\n${describe(result)}\n(${Math.round((performance.now() - begin) / 1000)} s)`)
    }
    console.log(`\n${describeGoals(results)}`)
    const report = { date: new Date().toISOString().slice(0, 10), ...environment, repetitions, milliseconds, results }
    if (values.json) await writeFile(values.json, `${JSON.stringify(report, undefined, 1)}\n`)
    if (values.svg) await writeFile(values.svg, draw(report))
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

function describeEnvironment(server, pgbench) {
  const [{ model }] = cpus()
  return {
    machine: `${cpus().length} × ${model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}`,
    versions: [
      `PostgreSQL ${server.version}`,
      `Node.js ${process.versions.node}`,
      ...new Set(Object.keys(peers).map(versionOf)),
      pgbench?.version ?? 'no pgbench',
      `a binary of ${(binarySize() / 2 ** 20).toFixed(1)} MiB`,
    ],
  }
}

function binarySize() {
  const root = new URL('..', import.meta.url)
  return Math.max(...readdirSync(root).filter((name) => name.endsWith('.node')).map((name) => statSync(new URL(name, root)).size))
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
