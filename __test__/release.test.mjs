// A release, played through on this machine: the packages are made, published to a registry of the tests' own, and installed by
// each package manager, where callers of each line of the original run without a change of code.

import assert from 'node:assert/strict'
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { LICENCES_FILE } from '../scripts/licences.mjs'
import { binaryName, hostTarget, targets } from '../scripts/targets.mjs'
import { caller1, caller2 } from './support/callers.mjs'
import { openDatabase } from './support/database.mjs'
import { emptyProject, filesIn, makeRelease, node, readIn, repository, root, runIn } from './support/package.mjs'
import { startRegistry } from './support/registry.mjs'
import { bun } from './support/runtimes.mjs'

const NAME = 'advisory-lock-native'
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const version1 = manifest.version
const version2 = version1.replace(/^1/, '2')
const database = await openDatabase()
const environment = { PG_CONNECTION_STRING: database.connectionString }
const registry = await startRegistry()
const { folder, packages } = await makeRelease()
const tarballOf = (name, version) => join(folder, packages.find((entry) => entry.name === name && entry.version === version).file)
const manifestOf = async (name, version) => JSON.parse(await readIn(tarballOf(name, version), 'package.json'))
const platforms = Object.values(targets).map(({ platform }) => platform)

// What npm reads instead of a person's own settings: where to publish, and as whom.
const settings = join(await emptyProject(), 'npmrc')
await writeFile(settings, `registry=${registry.address}\n//${new URL(registry.address).host}/:_authToken=somebody\n`)
const publish = (place = folder) => node(root, ['scripts/publish.mjs', place], { NPM_CONFIG_USERCONFIG: settings })

describe('the packages', () => {
  test('one for each platform, and the package itself in two lines', () => {
    assert.deepEqual(
      packages.map(({ name, version, tag }) => `${name}@${version} ${tag}`),
      [
        ...platforms.map((platform) => `${NAME}-${platform}@${version1} latest`),
        `${NAME}@${version1} latest`,
        `${NAME}@${version2} latest-2`,
      ],
    )
  })

  test('a main entry by the version, and both contracts by name in each', async () => {
    const [one, two] = [await manifestOf(NAME, version1), await manifestOf(NAME, version2)]
    const entry = (number) => ({ types: `./v${number}.d.ts`, default: `./v${number}.js` })
    assert.deepEqual(one.exports, { '.': { types: './index.d.ts', default: './index.js' }, './v1': entry(1), './v2': entry(2), './package.json': './package.json' })
    assert.deepEqual(two.exports, { ...one.exports, '.': entry(2) })
    assert.deepEqual([one.main, one.types, two.main, two.types], ['index.js', 'index.d.ts', 'v2.js', 'v2.d.ts'])
    assert.deepEqual({ ...two, version: one.version, main: one.main, types: one.types, exports: one.exports }, one)
    assert.deepEqual(await filesIn(tarballOf(NAME, version1)), await filesIn(tarballOf(NAME, version2)))
  })

  test('both lines ask for the same binaries, by their very version', async () => {
    for (const version of [version1, version2]) {
      const { optionalDependencies, dependencies, scripts, devDependencies } = await manifestOf(NAME, version)
      assert.deepEqual(optionalDependencies, Object.fromEntries(platforms.map((platform) => [`${NAME}-${platform}`, version1])))
      assert.deepEqual([dependencies, scripts, devDependencies], [undefined, undefined, undefined])
    }
  })

  test('the package itself has no binary, and is small', async () => {
    for (const version of [version1, version2]) {
      const names = await filesIn(tarballOf(NAME, version))
      assert.deepEqual(names.filter((name) => /\.node$|^THIRD|^__test__|\.test\.|\.rs$|^scripts/.test(name)), [])
      assert.ok((await stat(tarballOf(NAME, version))).size < 100 << 10)
    }
  })

  test('its code is one file, which can be read, and names no path of the machine that made it', async () => {
    for (const version of [version1, version2]) {
      const names = await filesIn(tarballOf(NAME, version))
      assert.deepEqual(names.filter((name) => name.startsWith('lib/')).sort(), ['lib/bundle.js', 'lib/command/main.js'])
      const code = await readIn(tarballOf(NAME, version), 'lib/bundle.js')
      assert.match(code, /^class Election /m)
      assert.equal(code.match(/^'lib\/election\.js'\(module\) \{$/gm).length, 1)
      for (const path of [tmpdir(), root]) assert.ok(!code.includes(path.replace(/^\//, '')), path)
    }
  })

  test('a platform has its binary, the licences of what is in it, and the platform in its manifest', async () => {
    for (const { platform, os, cpu, libc } of Object.values(targets)) {
      const [name, binary] = [`${NAME}-${platform}`, binaryName(platform)]
      const names = await filesIn(tarballOf(name, version1))
      assert.deepEqual(names.sort(), ['LICENSE', 'README.md', LICENCES_FILE, binary, 'package.json'].sort())
      const { main, ...rest } = await manifestOf(name, version1)
      assert.deepEqual([main, rest.os, rest.cpu, rest.libc], [binary, [os], [cpu], libc && [libc]])
    }
  })

  test('the loader knows each of the platforms', async () => {
    const files = (await readdir(join(root, 'lib'))).filter((name) => name.endsWith('.js'))
    const code = (await Promise.all(files.map((name) => readFile(join(root, 'lib', name), 'utf8')))).join('')
    for (const platform of platforms) assert.ok(code.includes(platform), platform)
  })

  test('each says where it comes from', async () => {
    for (const { name, version } of packages) {
      const found = await manifestOf(name, version)
      assert.deepEqual(found.repository, { type: 'git', url: `git+${repository}.git` })
      assert.deepEqual([found.bugs.url, found.homepage, found.license], [`${repository}/issues`, `${repository}#readme`, 'MIT'])
    }
  })

  test('the types of both lines are right', async () => {
    const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js')
    for (const version of [version1, version2]) {
      assert.match(await node(folder, [attw, tarballOf(NAME, version)]), /No problems found/)
    }
  })

  test('nothing is made of a tree without all binaries, nor without an address', async () => {
    const [empty, target] = [await emptyProject(), await emptyProject()]
    await assert.rejects(node(root, ['scripts/release.mjs', empty, target, `--repository=${repository}`]), /linux-x64-gnu/)
    await assert.rejects(node(root, ['scripts/release.mjs', empty, target]), /--repository/)
  })
})

test('publishing can be repeated: after a failure the rest is published, and nothing twice', async () => {
  registry.failAfter(3)
  await assert.rejects(publish())
  assert.equal(registry.published.length, 3)
  registry.failAfter(Infinity)
  await publish()
  const all = packages.map(({ name, version }) => `${name}@${version}`)
  assert.deepEqual(registry.published, all)
  assert.match(await publish(), new RegExp(`${NAME}@${version1} is there already`))
  assert.deepEqual(registry.published, all)
})

test('publishing stops where the registry has the version with another content', async () => {
  const other = await emptyProject()
  await writeFile(join(other, 'other.tgz'), 'another content')
  await writeFile(join(other, 'release.json'), JSON.stringify([{ name: NAME, version: version1, tag: 'latest', file: 'other.tgz' }]))
  await assert.rejects(publish(other), /published with another content/)
})

describe('the swap without a change of code', () => {
  // A cache of its own: the versions of another run have other contents.
  let cache
  before(async () => {
    cache = await emptyProject()
  })
  const fromHere = () => ({ NPM_CONFIG_USERCONFIG: settings, NPM_CONFIG_CACHE: join(cache, 'npm') })
  const npmInstall = (project, ...what) =>
    runIn(project, 'npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...what], fromHere())
  const run1 = async (project, name) => assert.equal(await node(project, ['-e', caller1(name)], environment), 'caller 1: ok\n')
  const run2 = async (project, name) => {
    await writeFile(join(project, 'caller.mjs'), caller2(name))
    assert.equal(await node(project, ['caller.mjs'], environment), 'caller 2: ok\n')
  }
  const read = async (...path) => JSON.parse(await readFile(join(...path, 'package.json'), 'utf8'))
  const installed = async (project, name) => (await read(project, 'node_modules', name)).version

  for (const [line, version, run] of [[1, version1, run1], [2, version2, run2]]) {
    test(`npm install advisory-lock@npm:${NAME}@${line}`, async () => {
      const project = await emptyProject()
      await npmInstall(project, `advisory-lock@npm:${NAME}@${line}`)
      assert.deepEqual((await read(project)).dependencies, { 'advisory-lock': `npm:${NAME}@^${version}` })
      assert.equal(await installed(project, 'advisory-lock'), version)
      await run(project, 'advisory-lock')
      const withlock = join('node_modules/.bin', process.platform === 'win32' ? 'withlock.cmd' : 'withlock')
      assert.match(await runIn(project, withlock, ['--version']), new RegExp(`\\b${version.replaceAll('.', '\\.')}\\b`))
      assert.equal(await runIn(project, withlock, ['release', '--', process.execPath, '-p', '6 * 7'], environment), '42\n')
    })
  }

  const managers = {
    npm: (project) => npmInstall(project),
    'yarn (berry)': async (project) => {
      await writeFile(join(project, 'yarn.lock'), '')
      const env = {
        YARN_NPM_REGISTRY_SERVER: registry.address,
        YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
        YARN_NODE_LINKER: 'node-modules',
        YARN_GLOBAL_FOLDER: join(cache, 'yarn'),
        YARN_ENABLE_TELEMETRY: '0',
      }
      await node(project, [join(root, 'node_modules/@yarnpkg/cli-dist/bin/yarn.js'), 'install', '--no-immutable'], env)
    },
    pnpm: async (project) => {
      const parameters = ['install', '--ignore-scripts', '--no-frozen-lockfile', `--store-dir=${join(cache, 'pnpm')}`]
      await node(project, [join(root, 'node_modules/pnpm/bin/pnpm.cjs'), ...parameters], fromHere())
    },
    bun: async (project) => {
      await writeFile(join(project, 'bunfig.toml'), `[install]\nregistry = "${registry.address}"\ncache = false\n`)
      await runIn(project, bun(), ['install', '--ignore-scripts'])
    },
  }
  for (const [manager, install] of Object.entries(managers)) {
    test(`${manager}: the alias of the README, for each line`, async () => {
      const project = await emptyProject()
      const dependencies = { 'advisory-lock': `npm:${NAME}@^1`, 'advisory-lock-2': `npm:${NAME}@^2` }
      await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'a-project', version: '1.0.0', private: true, dependencies }))
      await install(project)
      assert.equal(await installed(project, 'advisory-lock'), version1)
      assert.equal(await installed(project, 'advisory-lock-2'), version2)
      await run1(project, 'advisory-lock')
      await run2(project, 'advisory-lock-2')
    })
  }

  test('both lines in one project share the binary, and each has both contracts', async () => {
    const project = await emptyProject()
    await npmInstall(project, `one@npm:${NAME}@1`, `two@npm:${NAME}@2`)
    const folders = await readdir(join(project, 'node_modules'), { recursive: true })
    const binaries = folders.filter((path) => /advisory-lock-native-[\w-]+$/.test(path))
    assert.deepEqual(binaries, [`${NAME}-${targets[hostTarget()].platform}`])
    const script = `console.log(require('one') === require('one/v1'), require('two') === require('two/v2'))`
    assert.equal(await node(project, ['-e', script]), 'true true\n')
    await run1(project, 'two/v1')
    await run2(project, 'one/v2')
  })

  test('without a version it is the documented line', async () => {
    const project = await emptyProject()
    await npmInstall(project, `advisory-lock@npm:${NAME}`)
    assert.equal(await installed(project, 'advisory-lock'), version1)
  })

  test('who asks for the original by its own range gets what took its place', async () => {
    const project = await emptyProject()
    const manifests = {
      '.': { private: true, workspaces: ['member'], dependencies: { 'advisory-lock': `npm:${NAME}@1` } },
      member: { name: 'member', version: '1.0.0', dependencies: { 'advisory-lock': '^1.2.0' } },
    }
    await mkdir(join(project, 'member'))
    for (const [place, content] of Object.entries(manifests)) await writeFile(join(project, place, 'package.json'), JSON.stringify(content))
    await npmInstall(project)
    assert.deepEqual(await readdir(join(project, 'member')), ['package.json'], 'it has no other one of its own')
    assert.equal(await installed(project, 'advisory-lock'), version1)
  })

  test('without its binary it says which package is missing', async () => {
    const project = await emptyProject()
    await npmInstall(project, '--omit=optional', NAME)
    const script = `try { require('${NAME}') } catch (error) { console.log(error.code, error.message) }`
    const complaint = await node(project, ['-e', script])
    assert.match(complaint, new RegExp(`^ERR_NO_BINARY the binary .* for ${process.platform} ${process.arch} is not installed`))
    assert.match(complaint, /--omit=optional/)
  })
})
