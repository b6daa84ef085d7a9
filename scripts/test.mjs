// `npm test`: prepares the clone and runs every check. A clone that does not build ends the run; of the test files every one is run,
// and what those that failed have printed comes once more at the end, where a log that is cut still has it.
//
// What is independent runs side by side, as most of it waits most of the time: what is done with Rust beside what is done with
// JavaScript, then the test files in lanes, each of which has a server of its own. What compares times runs by itself.

import { readdirSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { startServer } from './embedded-postgres.mjs'
import { checkNode, root } from './prepare.mjs'
import { endAll, runAside } from './side-by-side.mjs'

/** Test files whose assertions compare times or shares of time, which others beside them would change. */
const ALONE = ['all.test.mjs', 'fairness.test.mjs', 'harmless-waits.test.mjs', 'leaks.test.mjs', 'semaphore.test.mjs', 'ticks-processes.test.mjs', 'waiting.test.mjs']

/** Milliseconds after which a file hangs; a machine with other work needs several times as long as one that has none. */
const LIMIT = 600_000

const node = (name, parameters, env) => runAside(name, process.execPath, parameters, env)
const cargo = (name, ...parameters) => runAside(name, 'cargo', parameters)
const module = (path) => join(root, 'node_modules', path)

/** What needs the compiler; the addon is there afterwards. */
async function checkRust() {
  await cargo('cargo fmt', 'fmt', '--check')
  await node('the addon', ['scripts/prepare.mjs', 'addon'])
  await cargo('cargo clippy', 'clippy', '--locked', '--all-targets', '--quiet', '--', '-D', 'warnings')
  await cargo('cargo test', 'test', '--locked', '--quiet')
}

/** What needs the development dependencies and no addon. */
async function checkJavaScript() {
  await node('the development dependencies', ['scripts/prepare.mjs', 'dependencies'])
  await node('JavaScript linter', [module('eslint/bin/eslint.js'), '.'])
  const projects = readdirSync(join(root, '__test__/types')).filter((file) => /^tsconfig\.(?!base)/.test(file))
  for (const name of projects) {
    await node(`types, ${name}`, [module('typescript/bin/tsc'), '--noEmit', '--project', join('__test__/types', name)])
  }
}

/**
 * Takes the test files one by one, in as many lanes as this machine has room for. With `PG_CONNECTION_STRING` there is one
 * server, and one lane.
 */
async function runTests() {
  const files = readdirSync(join(root, '__test__')).filter((name) => name.endsWith('.test.mjs'))
  // The longest first, so that no lane is left with one at the end; their size has to tell.
  const size = (name) => statSync(join(root, '__test__', name)).size
  const queue = files.filter((name) => !ALONE.includes(name)).sort((a, b) => size(b) - size(a))
  const lane = async (env) => {
    for (let name; (name = queue.shift()); ) await runTest(name, env)
  }
  const count = process.env.PG_CONNECTION_STRING ? 1 : Math.min(4, availableParallelism())
  await Promise.all(Array.from({ length: count }, () => withServer(lane)))
  await withServer(async (env) => {
    for (const name of ALONE) await runTest(name, env)
    await runTestsOfTheOriginal(env)
  })
}

/** What has failed so far. */
const failures = []

/** Runs a check whose failure leaves the others worth running. */
const check = (...what) => node(...what).catch((failure) => failures.push(failure))

const runTest = (name, env) => check(name, ['--test', `--test-timeout=${LIMIT}`, '--test-reporter=spec', join('__test__', name)], env)

/**
 * Those of advisory-lock 2.0.0, against `/v2`. Each file in a process of its own: one counts the connections of the whole server
 * before and after, among which an idle one of the other file would be at first and not later.
 */
async function runTestsOfTheOriginal(env) {
  const folder = module('advisory-lock/build/test')
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.test.js'))) {
    const redirect = ['--require', join(root, '__test__/original/redirect.cjs')]
    await check(`advisory-lock@2.0.0, ${name}`, [...redirect, module('tape/bin/tape'), join(folder, name)], env)
  }
}

/** Does something on the server of `PG_CONNECTION_STRING`, or on one of its own. */
async function withServer(work) {
  if (process.env.PG_CONNECTION_STRING) return work(process.env)
  const server = await startServer()
  try {
    await work({ ...process.env, PG_CONNECTION_STRING: server.connectionString() })
  } finally {
    await server.stop()
  }
}

async function main() {
  checkNode()
  await Promise.all([checkRust(), checkJavaScript()])
  await runTests()
  await check('soak, a minute of it', ['soak/soak.mjs', '--seconds', '60'])
  for (const { message, output } of failures) console.log(`\n== once more, ${message}:\n${onlyFailures(output)}`)
  if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join('\n      '))
}

/** What a test file printed but for the tests that passed; one that hung is not named, so that there the last that passed tells which. */
function onlyFailures(output = '') {
  const lines = output.trimEnd().split('\n')
  const lastPassed = /^ℹ cancelled [1-9]/m.test(output) && lines.findLast((line) => /^\s*✔/.test(line))
  return lines.filter((line) => line === lastPassed || !/^\s*✔/.test(line)).join('\n')
}

const begin = performance.now()
main().then(
  () => {
    console.log(`\nall checks passed, after ${Math.round((performance.now() - begin) / 1000)} s`)
    process.exit(0)
  },
  (error) => {
    endAll()
    console.error(`\ntest: ${error.message}`)
    process.exit(1)
  },
)
