// The released package in bundlers, with the one line for each that docs/test-runners-and-bundlers.md gives, where it needs one.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { hostTarget, targets } from '../scripts/targets.mjs'
import { openDatabase } from './support/database.mjs'
import { emptyProject, makeRelease, npm, root, runIn } from './support/package.mjs'
import { bun } from './support/runtimes.mjs'

const database = await openDatabase()
const environment = { PG_CONNECTION_STRING: database.connectionString }
const project = await emptyProject()

before(async () => {
  await cp(fileURLToPath(new URL('bundlers', import.meta.url)), project, { recursive: true })
  await npm(project, 'ci', '--ignore-scripts', '--prefer-offline')
  const { folder, packages } = await makeRelease()
  const names = ['advisory-lock-native', `advisory-lock-native-${targets[hostTarget()].platform}`]
  for (const name of names) {
    const { file } = packages.find((one) => one.name === name && one.version.startsWith('1.'))
    const place = join(project, 'node_modules', name)
    await mkdir(place)
    await runIn(project, 'tar', ['-xzf', join(folder, file), '-C', place, '--strip-components=1'])
  }
})

/** Runs a bundler, or what is bundled; what it prints, on both its streams. */
async function run(folder, file, parameters) {
  const options = { cwd: folder, env: { ...process.env, ...environment, NODE_ENV: undefined, NO_COLOR: '1' }, timeout: 60_000 }
  const { stdout, stderr } = await promisify(execFile)(file, parameters, options)
  return stdout + stderr
}

const bundle = async (script, ...parameters) => {
  const output = await run(project, process.execPath, [join('node_modules', script), ...parameters])
  assert.doesNotMatch(output, /warn|\(!\)|can't resolve|error/i)
}

const locked = 'locked -107789403,-1898803861\n'

/** What is bundled runs, in the project; with `alone`, moved out of it and without its packages. */
async function works(path, { alone = false, runtime = process.execPath } = {}) {
  let place = join(project, path)
  if (alone) {
    const elsewhere = await mkdtemp(join(tmpdir(), 'advisory-lock-bundle-'))
    after(() => rm(elsewhere, { recursive: true, force: true }))
    await cp(join(place, '..'), elsewhere, { recursive: true })
    place = join(elsewhere, basename(path))
    assert.equal((await readdir(elsewhere)).filter((name) => name.endsWith('.node')).length, 1, 'the binary for this platform')
  }
  assert.equal(await run(join(place, '..'), runtime, [place]), locked)
}

test('esbuild: the binary is copied', async () => {
  await bundle('esbuild/bin/esbuild', 'program.cjs', '--bundle', '--platform=node', '--log-level=warning', '--loader:.node=copy', '--outdir=esbuild')
  await works('esbuild/program.js', { alone: true })
})

test('esbuild: the package is left outside, in ES modules too', async () => {
  const external = '--external:advisory-lock-native'
  await bundle('esbuild/bin/esbuild', 'program.mjs', '--bundle', '--platform=node', '--log-level=warning', '--format=esm', external, '--outfile=esbuild-esm/program.mjs')
  await works('esbuild-esm/program.mjs')
})

test('webpack: the package is left outside', async () => {
  await bundle('webpack/bin/webpack.js', '--config=webpack.config.cjs')
  await works('webpack/program.cjs')
})

test('ncc: nothing is to be said', async () => {
  await bundle('@vercel/ncc/dist/ncc/cli.js', 'build', 'program.cjs', '--out=ncc')
  await works('ncc/index.cjs', { alone: true })
  await bundle('@vercel/ncc/dist/ncc/cli.js', 'build', 'program.mjs', '--out=ncc-esm')
  await works('ncc-esm/index.mjs', { alone: true })
})

test('rollup: the package is left outside', async () => {
  const external = '--external=advisory-lock-native,advisory-lock-native/v2'
  await bundle('rollup/dist/bin/rollup', 'program.mjs', external, '--format=es', '--file=rollup/program.mjs')
  await works('rollup/program.mjs')
})

test('vite, for a server: nothing is to be said', async () => {
  await bundle('vite/bin/vite.js', 'build', '--ssr=program.mjs', '--outDir=vite', '--logLevel=warn')
  await works('vite/program.mjs')
})

test('bun build: nothing is to be said', async () => {
  const output = await run(project, bun(), ['build', 'program.mjs', '--target=node', '--outdir=bun', '--entry-naming=[name].mjs'])
  assert.doesNotMatch(output, /warn|error/i)
  await works('bun/program.mjs', { alone: true })
})

test('the lines are those of the documentation', async () => {
  const page = await readFile(join(root, 'docs/test-runners-and-bundlers.md'), 'utf8')
  for (const line of ['--loader:.node=copy', '--external:advisory-lock-native', "externals: [/^advisory-lock-native/], externalsType: 'commonjs'"]) {
    assert.ok(page.includes(line), line)
  }
})

