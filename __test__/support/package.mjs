// The package as its users get it: packed, published to a registry of the tests' own, installed.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const root = fileURLToPath(new URL('../..', import.meta.url))
const execute = promisify(execFile)
const onWindows = process.platform === 'win32'

/** Runs a program in a folder to its end: what it prints. Rejects with what it printed where it fails. */
export async function runIn(folder, file, parameters, environment = {}) {
  const env = { ...process.env, ...environment }
  // The tests' own npm would hand its settings on.
  for (const name of Object.keys(env)) if (/^npm_(config|package|lifecycle)_/i.test(name)) delete env[name]
  const { stdout } = await execute(file, parameters, { cwd: folder, env, maxBuffer: 1 << 26, shell: onWindows && file === 'npm' })
  return stdout
}

const quiet = ['--no-audit', '--no-fund', '--loglevel=error']
export const npm = (folder, ...parameters) => runIn(folder, 'npm', [...parameters, ...quiet])
export const node = (folder, parameters, environment) => runIn(folder, process.execPath, parameters, environment)

/** An empty project, gone after the test file. */
export async function emptyProject() {
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-native-'))
  after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'a-project', version: '1.0.0', private: true }))
  return folder
}

/** The path of the tarball that `npm pack` makes of a package folder. */
export async function pack(source, destination) {
  const [{ filename }] = JSON.parse(await npm(source, 'pack', '--json', '--ignore-scripts', `--pack-destination=${destination}`))
  return join(destination, filename)
}

/** Makes the packages as the release does, for this platform alone: the paths of the main and the platform's tarball. */
export async function packRelease() {
  const folder = await emptyProject()
  const kept = ['LICENSE', 'README.md', 'CHANGELOG.md', 'index.js', 'index.d.ts', 'v2.js', 'v2.d.ts', 'lib', 'bin', 'npm', 'scripts']
  for (const name of kept) await cp(join(root, name), join(folder, name), { recursive: true })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction')
  const { stdout } = await execute('rustc', ['-vV'])
  const target = /^host: (.*)$/m.exec(stdout)[1]
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  manifest.napi.targets = [target]
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  await cp(root, join(folder, 'artifacts'), {
    recursive: true,
    filter: (path) => path === root || path.endsWith('.node'),
  })
  const napi = join(root, 'node_modules/@napi-rs/cli/dist/cli.js')
  await node(folder, [napi, 'artifacts', '--output-dir', 'artifacts'])
  await runIn(folder, 'npm', ['run', 'prepublishOnly'])
  const { optionalDependencies } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const [platform] = Object.keys(optionalDependencies)
  return {
    main: await pack(folder, folder),
    platform: await pack(join(folder, 'npm', platform.slice(`${manifest.name}-`.length)), folder),
    optionalDependencies,
  }
}

/** Starts a registry that has these tarballs and nothing else; its address. */
export async function startRegistry(tarballs) {
  const files = new Map()
  const packages = new Map()
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url)
    if (files.has(path)) return response.end(files.get(path))
    const known = packages.get(path)
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(known ?? { error: 'not found' }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = `http://127.0.0.1:${server.address().port}`
  for (const tarball of tarballs) {
    const content = await readFile(tarball)
    const { stdout } = await execute('tar', ['-xzOf', tarball, 'package/package.json'])
    const manifest = JSON.parse(stdout)
    const path = `/-/${manifest.name}-${manifest.version}.tgz`
    files.set(path, content)
    const integrity = `sha512-${createHash('sha512').update(content).digest('base64')}`
    packages.set(`/${manifest.name}`, {
      name: manifest.name,
      'dist-tags': { latest: manifest.version },
      versions: { [manifest.version]: { ...manifest, dist: { tarball: address + path, integrity } } },
    })
  }
  return address
}
