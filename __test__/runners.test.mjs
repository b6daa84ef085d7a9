// The package as its users have it in test runners, which replace timers, module systems and realms, and in which nobody closes anything.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { layOut } from '../scripts/release.mjs'
import { openDatabase } from './support/database.mjs'
import { emptyProject, npm } from './support/package.mjs'

const database = await openDatabase()
const project = await emptyProject()

before(async () => {
  await cp(fileURLToPath(new URL('runners', import.meta.url)), project, { recursive: true })
  await npm(project, 'ci', '--ignore-scripts', '--prefer-offline')
  const place = join(project, 'node_modules/advisory-lock-native')
  await mkdir(place)
  layOut(place)
})

// A runner marks its children, and this is a runner's child.
const inherited = { ...process.env, NODE_TEST_CONTEXT: undefined, NODE_ENV: undefined }
const environment = { ...inherited, PG_CONNECTION_STRING: database.connectionString, NO_COLOR: '1', CI: 'true' }

/** Runs a runner to its end, to which it has to come by itself; what it prints. */
async function run(script, parameters, variables = {}) {
  const options = { cwd: project, env: { ...environment, ...variables }, timeout: 120_000 }
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [join('node_modules', script), ...parameters], options)
  return stdout + stderr
}

/** Jest tells of what keeps it and goes on. */
const keptJest = /did not exit|failed to exit|open handle/i

for (const [title, parameters] of [
  ['in band', ['--runInBand']],
  ['with workers', ['--maxWorkers=2']],
]) {
  test(`jest, ${title}`, async () => {
    const output = await run('jest/bin/jest.js', ['--config=jest/jest.config.js', ...parameters])
    assert.match(output, /Tests: +24 passed, 24 total/)
    assert.doesNotMatch(output, keptJest)
  })
}

for (const pool of ['forks', 'threads', 'vmThreads']) {
  test(`vitest, ${pool}`, async () => {
    const output = await run('vitest/vitest.mjs', ['run', '--dir=vitest', `--pool=${pool}`], { POOL: pool })
    assert.match(output, /Tests +6 passed \(6\)/)
    assert.doesNotMatch(output, /Unhandled|close timed out/i)
  })
}

test('mocha, which ends when nothing is left to do', async () => {
  assert.match(await run('mocha/bin/mocha.js', ['mocha/*.test.cjs']), /5 passing/)
})

test('ava', async () => {
  assert.match(await run('ava/entrypoints/cli.mjs', ['ava/*.test.mjs']), /4 tests passed/)
})
