// `npm test`: prepares the clone and runs every check. The first that fails ends the run.

import { join } from 'node:path'
import { readdirSync } from 'node:fs'
import { prepare, root, run, runPackage } from './prepare.mjs'

const steps = {
  'cargo fmt': () => run('cargo', ['fmt', '--check']),
  'cargo clippy': () => run('cargo', ['clippy', '--all-targets', '--quiet', '--', '-D', 'warnings']),
  'cargo test': () => run('cargo', ['test', '--quiet']),
  'JavaScript linter': () => runPackage('eslint/bin/eslint.js', ['.']),
  types: () => {
    for (const name of readdirSync(join(root, '__test__/types')).filter((file) => /^tsconfig\.(?!base)/.test(file))) {
      runPackage('typescript/bin/tsc', ['--noEmit', '--project', join('__test__/types', name)])
    }
  },
  'tests of advisory-lock@2.0.0, against /v2': async () => {
    await withServer(runTestsOfTheOriginal)
  },
  'tests on a real PostgreSQL': async () => {
    await withServer(runTests)
  },
  'soak, a minute of it': () => run(process.execPath, [join(root, 'soak/soak.mjs'), '--seconds', '60']),
}

/** Runs the tests on the server of `PG_CONNECTION_STRING`, or on one of their own. */
async function withServer(tests) {
  if (process.env.PG_CONNECTION_STRING) return tests(process.env)
  const { startServer } = await import('./embedded-postgres.mjs')
  const server = await startServer()
  try {
    tests({ ...process.env, PG_CONNECTION_STRING: server.connectionString() })
  } finally {
    await server.stop()
  }
}

function runTests(env) {
  const files = readdirSync(join(root, '__test__')).filter((name) => name.endsWith('.test.mjs'))
  const parameters = ['--test', '--test-timeout=180000', '--test-reporter=spec', ...files.map((name) => join('__test__', name))]
  run(process.execPath, parameters, { env })
}

/**
 * Each file in a process of its own: one counts the connections of the whole server before and after, among which an
 * idle one of the other file would be at first and not later.
 */
function runTestsOfTheOriginal(env) {
  const folder = join(root, 'node_modules/advisory-lock/build/test')
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.test.js'))) {
    const redirect = ['--require', join(root, '__test__/original/redirect.cjs')]
    run(process.execPath, [...redirect, join(root, 'node_modules/tape/bin/tape'), join(folder, name)], { env })
  }
}

async function main() {
  prepare()
  for (const [name, step] of Object.entries(steps)) {
    console.log(`\n== ${name}`)
    await step()
  }
  console.log('\nall checks passed')
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(`\ntest: ${error.message}`)
    process.exit(1)
  },
)
