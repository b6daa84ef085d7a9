// A binary that is missing or does not load: the message begins with the true reason and names the way out.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { binaryName, hostTarget, targets } from '../scripts/targets.mjs'
import { emptyProject, root, runIn } from './support/package.mjs'
import { deno } from './support/runtimes.mjs'

const here = `${process.platform} ${process.arch}`
const own = targets[hostTarget()].platform
const content = await readFile(join(root, binaryName(own)))

/** A project with the package as a release installs it: the binary's package has the files that are given. */
async function install(files, platform = own) {
  const project = await emptyProject()
  const main = join(project, 'node_modules/advisory-lock-native')
  await mkdir(main, { recursive: true })
  for (const path of ['index.js', 'v2.js', 'lib', 'package.json']) await cp(join(root, path), join(main, path), { recursive: true })
  if (!files) return project
  const package_ = `advisory-lock-native-${platform}`
  const place = join(project, 'node_modules', package_)
  await mkdir(place)
  await writeFile(join(place, 'package.json'), JSON.stringify({ name: package_, version: '1.0.0', main: binaryName(platform) }))
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(place, name), bytes)
  return project
}

const withBinary = (bytes) => install({ [binaryName(own)]: bytes })
const script = `
  try { require('advisory-lock-native'); console.log('loaded') }
  catch ({ name, code, message, cause }) { console.log(JSON.stringify({ name, code, message, cause: cause?.message ?? null })) }`

/** What loading it comes to in a process of its own. */
async function load(project, flags = [], before = '') {
  const output = await runIn(project, process.execPath, [...flags, '-e', before + script])
  return output.startsWith('{') ? JSON.parse(output) : output.trim()
}

function assertError(error, code, reason, wayOut) {
  assert.equal(error.name, 'AdvisoryLockError', JSON.stringify(error))
  assert.equal(error.code, code, error.message)
  assert.match(error.message, reason)
  assert.match(error.message, wayOut)
}

test('it loads, whole', async () => {
  assert.equal(await load(await withBinary(content)), 'loaded')
})

test('nothing is installed', async () => {
  const error = await load(await install())
  assertError(error, 'ERR_NO_BINARY', new RegExp(`^the binary of advisory-lock-native for ${here} is not installed`), /--omit=optional/)
  assert.match(error.message, /cli\/issues\/4828/)
  assert.equal(error.cause, null)
})

test('another platform is installed, as by a lock file of that', async () => {
  const other = own === 'darwin-arm64' ? 'linux-x64-musl' : 'darwin-arm64'
  const error = await load(await install({ [binaryName(other)]: content }, other))
  assertError(error, 'ERR_NO_BINARY', new RegExp(`^node_modules has the binary .* for ${other}, and this is ${own}`), /package-lock\.json/)
})

test('its package has lost its file', async () => {
  assertError(await load(await install({})), 'ERR_NO_BINARY', /^the binary is missing in .*: the installation is incomplete/, /install again/)
})

test('there is none for this platform', async () => {
  const error = await load(await withBinary(content), [], `Object.defineProperty(process, 'arch', { value: 'riscv64' });`)
  assertError(error, 'ERR_NO_BINARY', new RegExp(`^there is no binary of advisory-lock-native for ${process.platform} riscv64`), /npm run build/)
})

test('Node.js forbids addons', async () => {
  const project = await withBinary(content)
  const refused = await load(project, ['--no-addons'])
  assertError(refused, 'ERR_BINARY_NOT_LOADED', /^Node\.js runs with --no-addons/, /start it without/)
  const { allowedNodeEnvironmentFlags } = process
  const permission = allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission'
  const restricted = await load(project, [permission, '--allow-fs-read=*'])
  assertError(restricted, 'ERR_BINARY_NOT_LOADED', /^Node\.js runs with --permission/, /--allow-addons/)
  if (allowedNodeEnvironmentFlags.has('--allow-addons')) {
    assert.equal(await load(project, [permission, '--allow-fs-read=*', '--allow-addons']), 'loaded')
  }
})

test('Deno has no permission for it', async () => {
  const project = await withBinary(content)
  await writeFile(join(project, 'script.cjs'), script)
  const output = await runIn(project, deno(), ['run', '--allow-read', '--allow-env', 'script.cjs'])
  assertError(JSON.parse(output), 'ERR_BINARY_NOT_LOADED', /^Deno runs without a permission/, /--allow-ffi/)
})

test('the file is none', async () => {
  for (const bytes of ['', 'version https://git-lfs.github.com/spec/v1\n', Buffer.alloc(100_000)]) {
    const error = await load(await withBinary(bytes))
    assertError(error, 'ERR_BINARY_NOT_LOADED', /^(\S+ is damaged, or is for another platform|the binary cannot be loaded: )/, /./)
    assert.notEqual(error.cause, null)
  }
})

if (process.platform === 'linux') {
  test('the file is cut off: it would end the process, if it were loaded', async () => {
    for (const length of [64, 5000, 100_000, 1_000_000]) {
      const error = await load(await withBinary(content.subarray(0, length)))
      assertError(error, 'ERR_BINARY_NOT_LOADED', new RegExp(`^\\S+ is cut off: it has ${length} of at least`), /install again/)
    }
  })

  test('the file is for another processor, or another system', async () => {
    const other = Buffer.from(content)
    other.writeUInt16LE(process.arch === 'x64' ? 183 : 62, 18)
    const error = await load(await withBinary(other))
    assertError(error, 'ERR_BINARY_NOT_LOADED', new RegExp(`^\\S+ is for ${process.arch === 'x64' ? 'arm64' : 'x64'}, and this is ${here}`), /install again/)
    const machO = Buffer.from(content)
    machO.writeUInt32BE(0xcffaedfe)
    assertError(await load(await withBinary(machO)), 'ERR_BINARY_NOT_LOADED', /^\S+ is damaged, or is for another platform/, /install again/)
  })

  test('the C library is too old', async () => {
    // The newest version that is asked for, made one that there is not yet.
    const versions = [...content.toString('latin1').matchAll(/\0(GLIBC_2\.\d+)\0/g)].map(([, version]) => version)
    const newest = versions.sort((a, b) => Number(a.slice(8)) - Number(b.slice(8))).pop()
    const future = Buffer.from(content.toString('latin1').replaceAll(`\0${newest}\0`, `\0${newest.replace('_2', '_9')}\0`), 'latin1')
    const error = await load(await withBinary(future))
    assertError(error, 'ERR_BINARY_NOT_LOADED', /^the C library of this system is too old: the binary needs glibc 9\.\d+, and this is 2\./, /npm run build/)
  })

  test('the file system is mounted with noexec', async () => {
    const project = await withBinary(content)
    const place = join(project, 'node_modules')
    const asRoot = process.getuid() === 0 ? [] : ['sudo', '-n']
    const command = (...words) => execFileSync([...asRoot, ...words][0], [...asRoot, ...words].slice(1))
    await cp(place, join(project, 'kept'), { recursive: true })
    command('mount', '-t', 'tmpfs', '-o', 'noexec,mode=777', 'tmpfs', place)
    try {
      await cp(join(project, 'kept'), place, { recursive: true })
      assertError(await load(project), 'ERR_BINARY_NOT_LOADED', /^\S+ lies on a file system that is mounted with noexec/, /move node_modules/)
    } finally {
      command('umount', place)
    }
  })
}
