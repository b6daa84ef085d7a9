// The package from outside: what is in the tarball, what its manifest says, and an install of the tree that works.

import assert from 'node:assert/strict'
import { readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { publint } from 'publint'
import { binaryName, hostTarget, targets } from '../scripts/targets.mjs'
import { openDatabase } from './support/database.mjs'
import { caller1, caller2 } from './support/callers.mjs'
import { emptyProject, filesIn, node, npm, pack, root, runIn } from './support/package.mjs'

const database = await openDatabase()
const environment = { PG_CONNECTION_STRING: database.connectionString }
const scratch = await emptyProject()
const tarball = await pack(root, scratch)
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

test('publint reports nothing', async () => {
  const { messages } = await publint({ pkgDir: root, pack: 'npm', strict: true })
  assert.deepEqual(messages, [])
})

test('are the types wrong? No', async () => {
  const output = await node(scratch, [join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js'), tarball])
  assert.match(output, /No problems found/)
})

test('the tarball has what the package needs and nothing else', async () => {
  const names = await filesIn(tarball)
  const expected = new RegExp(
    '^(package\\.json|README\\.md|LICENSE|CHANGELOG\\.md|(index|v1|v2)\\.(js|d\\.ts)|(lib|bin)/.*\\.js' +
      '|THIRD-PARTY-LICENSES\\.txt|advisory-lock-native\\.[\\w-]+\\.node)$',
  )
  assert.deepEqual(names.filter((name) => !expected.test(name)), [])
  for (const { types, default: entry } of Object.values(manifest.exports).filter((value) => value.types)) {
    for (const path of [types, entry]) assert.ok(names.includes(path.slice(2)), path)
  }
  for (const program of Object.values(manifest.bin)) assert.ok(names.includes(program), program)
})

test('whatever the files of the package load is in it', async () => {
  const names = await filesIn(tarball)
  const scripts = names.filter((name) => name.endsWith('.js'))
  for (const name of scripts) {
    const code = await readFile(join(root, name), 'utf8')
    for (const [, path] of code.matchAll(/require\('(\.[^']+)'\)/g)) {
      const target = join(name, '..', path).replaceAll('\\', '/')
      // The binaries: here lies that of this machine alone.
      if (!target.endsWith('.node')) assert.ok(names.includes(target), `${name} loads ${target}`)
    }
  }
  assert.ok(scripts.length > 10, 'scripts were looked at')
})

test('the manifest has no dependencies, no scripts of an install, and a version that says its contract', () => {
  assert.equal(manifest.dependencies, undefined)
  assert.deepEqual(Object.keys(manifest.scripts).filter((name) => /install|prepare$/.test(name)), [])
  assert.match(manifest.version, /^1\./)
  assert.deepEqual(manifest.exports['.'], { types: './index.d.ts', default: './index.js' })
})

test('the example asks for the line that the tree is', async () => {
  const { dependencies } = JSON.parse(await readFile(join(root, 'examples/express/package.json'), 'utf8'))
  const [major, minor] = manifest.version.split('.').map(Number)
  const [, ofExample, least] = /^\^(\d+)\.(\d+)\.0$/.exec(dependencies[manifest.name]).map(Number)
  assert.ok(ofExample === major && least <= minor, dependencies[manifest.name])
})

test('the packed tree installs into an empty project without scripts, and works', async () => {
  const project = await emptyProject()
  await npm(project, 'install', '--ignore-scripts', '--offline', tarball)
  assert.equal(await node(project, ['-e', caller1('advisory-lock-native')], environment), 'caller 1: ok\n')
  assert.equal(await node(project, ['-e', caller1('advisory-lock-native/v1')], environment), 'caller 1: ok\n')
  await writeFile(join(project, 'caller-2.mjs'), caller2('advisory-lock-native/v2'))
  assert.equal(await node(project, ['caller-2.mjs'], environment), 'caller 2: ok\n')
  for (const program of Object.keys(manifest.bin)) {
    const command = join(project, 'node_modules/.bin', program)
    assert.equal(await runIn(project, command, ['--version']), `${manifest.version}\n`)
  }
  const command = join(project, 'node_modules/.bin/withlock')
  assert.equal(await runIn(project, command, ['name', '--', process.execPath, '-p', '6 * 7'], environment), '42\n')
})

test('on a platform without a package, a binary that was built in the folder is found', async () => {
  const project = await emptyProject()
  await npm(project, 'install', '--ignore-scripts', '--offline', tarball)
  const elsewhere = "Object.defineProperty(process, 'arch', { value: 'riscv64' });"
  const load = `${elsewhere} try { console.log(require('advisory-lock-native').strToKey('test-lock')) } catch (error) { console.log(error.code) }`
  assert.equal(await node(project, ['-e', load]), 'ERR_NO_BINARY\n')
  const folder = join(project, 'node_modules/advisory-lock-native')
  const { platform } = targets[hostTarget()]
  await rename(join(folder, binaryName(platform)), join(folder, binaryName(`${process.platform}-riscv64`)))
  assert.equal(await node(project, ['-e', load]), '[ -107789403, -1898803861 ]\n')
})

test('npm publish of the tree itself is refused', async () => {
  const attempt = npm(root, 'publish', '--dry-run', '--offline')
  await assert.rejects(attempt, (error) => {
    assert.match(error.stderr, /scripts\/release\.mjs/)
    return true
  })
})

test('there are papers for whoever looks for them', async () => {
  for (const name of ['LICENSE', 'SECURITY.md', 'CHANGELOG.md', 'CONTRIBUTING.md']) {
    assert.ok((await stat(join(root, name))).size > 0, name)
  }
  const { license } = manifest
  assert.equal(license, 'MIT')
  assert.match(await readFile(join(root, 'LICENSE'), 'utf8'), /^MIT License/)
})
