// The package from outside: what is in the tarball, what its manifest says, and an install that works.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { openDatabase } from './support/database.mjs'
import { emptyProject, node, npm, pack, packRelease, root, runIn, startRegistry } from './support/package.mjs'

const database = await openDatabase()
const environment = { PG_CONNECTION_STRING: database.connectionString }
const scratch = await emptyProject()
const tarball = await pack(root, scratch)
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

/** Written for advisory-lock 1.x, but for the name that it is given. */
const contract1 = (name) => `
  const advisoryLock = require('${name}')
  const getMutex = advisoryLock(process.env.PG_CONNECTION_STRING)
  const { withLock, tryLock, unlock } = getMutex('test-lock')
  withLock(() => tryLock().then((obtained) => unlock().then((given) => [obtained, given])))
    .then((result) => getMutex.client.end().then(() => console.log(JSON.stringify(result))))`

const files = async (path) =>
  (await promisify(execFile)('tar', ['-tzf', path])).stdout.split('\n').filter(Boolean).map((name) => name.slice('package/'.length))

test('publint reports nothing', async () => {
  const { messages } = await publint({ pkgDir: root, pack: 'npm', strict: true })
  assert.deepEqual(messages, [])
})

test('are the types wrong? No', async () => {
  const output = await node(scratch, [join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js'), tarball])
  assert.match(output, /No problems found/)
})

test('the tarball has what the package needs and nothing else', async () => {
  const names = await files(tarball)
  const expected = /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|(index|v2)\.(js|d\.ts)|(lib|bin)\/.*\.js|[\w.-]+\.node)$/
  assert.deepEqual(names.filter((name) => !expected.test(name)), [])
  for (const { types, default: entry } of Object.values(manifest.exports).filter((value) => value.types)) {
    for (const path of [types, entry]) assert.ok(names.includes(path.slice(2)), path)
  }
})

test('the packed tree installs into an empty project without scripts, and works', async () => {
  const project = await emptyProject()
  await npm(project, 'install', '--ignore-scripts', '--offline', tarball)
  assert.equal(await node(project, ['-e', contract1('advisory-lock-native')], environment), '[true,true]\n')
  await writeFile(
    join(project, 'contract-2.mjs'),
    `import advisoryLock, { strToKey } from 'advisory-lock-native/v2'
     const { lock, tryLock } = advisoryLock(process.env.PG_CONNECTION_STRING)('test-lock')
     const unlock = await lock()
     console.log(await tryLock(), await unlock(), strToKey('test-lock').join())`,
  )
  assert.equal(await node(project, ['contract-2.mjs'], environment), 'undefined undefined -107789403,-1898803861\n')
  for (const program of ['withlock', 'pgmutex']) {
    const command = join(project, 'node_modules/.bin', program)
    assert.equal(await runIn(project, command, ['--version']), `${manifest.version}\n`)
  }
  const command = join(project, 'node_modules/.bin/withlock')
  assert.equal(await runIn(project, command, ['name', '--', process.execPath, '-p', '6 * 7'], environment), '42\n')
})

test('the release: a small main package, a binary for each platform, and the swap without a change of code', async () => {
  const release = await packRelease()
  assert.ok(!(await files(release.main)).some((name) => name.endsWith('.node')), 'the binaries are packages of their own')
  assert.deepEqual(Object.values(release.optionalDependencies), [manifest.version])
  const registry = await startRegistry([release.main, release.platform])

  const project = await emptyProject()
  await npm(project, 'install', '--ignore-scripts', `--registry=${registry}`, 'advisory-lock@npm:advisory-lock-native')
  const { dependencies } = JSON.parse(await readFile(join(project, 'package.json'), 'utf8'))
  assert.deepEqual(Object.keys(dependencies), ['advisory-lock'])
  assert.equal(await node(project, ['-e', contract1('advisory-lock')], environment), '[true,true]\n')

  const incomplete = await emptyProject()
  await npm(incomplete, 'install', '--ignore-scripts', '--omit=optional', `--registry=${registry}`, 'advisory-lock-native')
  const script = `try { require('advisory-lock-native') } catch (error) { console.log(error.code, error.message) }`
  const complaint = await node(incomplete, ['-e', script])
  assert.match(complaint, new RegExp(`^ERR_NO_BINARY the binary .* for ${process.platform} ${process.arch} is not installed`))
  assert.match(complaint, /--omit=optional/)
})

test('there is a platform package for each target, of the same version', async () => {
  const folder = await emptyProject()
  const napi = join(root, 'node_modules/@napi-rs/cli/dist/cli.js')
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  await node(folder, [napi, 'create-npm-dirs'])
  for (const platform of ['linux-x64-gnu', 'linux-arm64-gnu', 'linux-x64-musl', 'linux-arm64-musl', 'darwin-x64', 'darwin-arm64', 'win32-x64-msvc']) {
    const path = join('npm', platform, 'package.json')
    assert.equal(await readFile(join(root, path), 'utf8'), await readFile(join(folder, path), 'utf8'), platform)
  }
})
