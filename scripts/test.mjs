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
  'tests on a real PostgreSQL': async () => {
    if (process.env.PG_CONNECTION_STRING) return runTests()
    const { startServer } = await import('./embedded-postgres.mjs')
    const server = await startServer()
    try {
      runTests({ PG_CONNECTION_STRING: server.connectionString() })
    } finally {
      await server.stop()
    }
  },
}

function runTests(environment = {}) {
  const files = readdirSync(join(root, '__test__')).filter((name) => name.endsWith('.test.mjs'))
  const parameters = ['--test', '--test-timeout=60000', '--test-reporter=spec', ...files.map((name) => join('__test__', name))]
  run(process.execPath, parameters, { env: { ...process.env, ...environment } })
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
