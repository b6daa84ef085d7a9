// The package as its users get it: packed, or released as the release does and installed from a registry of the tests' own.

import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { LICENCES_FILE } from '../../scripts/licences.mjs'
import { binaryName, hostTarget, targets } from '../../scripts/targets.mjs'

export const root = fileURLToPath(new URL('../..', import.meta.url))
const execute = promisify(execFile)
const onWindows = process.platform === 'win32'

/** Runs a program in a folder to its end: what it prints. Rejects with what it printed where it fails. */
export async function runIn(folder, file, parameters, environment = {}) {
  // The tests' own npm would hand its settings on.
  const isNpms = ([name]) => /^npm_(config|package|lifecycle)_/i.test(name)
  const inherited = Object.fromEntries(Object.entries(process.env).filter((entry) => !isNpms(entry)))
  const options = { cwd: folder, env: { ...inherited, ...environment }, maxBuffer: 1 << 26, shell: onWindows && file === 'npm' }
  const { stdout } = await execute(file, parameters, options)
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

/** The paths of the files in a tarball of a package. */
export async function filesIn(tarball) {
  const { stdout } = await execute('tar', ['-tzf', tarball])
  return stdout.split('\n').filter(Boolean).map((path) => path.replace('package/', ''))
}

/** The text of a file in a tarball of a package. */
export const readIn = async (tarball, path) => (await execute('tar', ['-xzOf', tarball, `package/${path}`])).stdout

/** Where the packages of the rehearsals say that they come from. */
export const repository = 'https://example.org/somebody/advisory-lock-native'

/**
 * Makes the packages as the release does: with this machine's binary for its own platform, and for the others with files that
 * stand for theirs.
 *
 * @returns the folder with the tarballs, and what is in it: `{ folder, packages: [{ name, version, tag, file }] }`
 */
export async function makeRelease() {
  const [binaries, folder] = [await emptyProject(), await emptyProject()]
  const own = targets[hostTarget()].platform
  for (const { platform } of Object.values(targets)) {
    await mkdir(join(binaries, platform))
    await cp(join(root, LICENCES_FILE), join(binaries, platform, LICENCES_FILE))
    const binary = join(binaries, platform, binaryName(platform))
    await (platform === own ? cp(join(root, binaryName(platform)), binary) : writeFile(binary, `for ${platform}`))
  }
  await node(root, ['scripts/release.mjs', binaries, folder, `--repository=${repository}`])
  return { folder, packages: JSON.parse(await readFile(join(folder, 'release.json'), 'utf8')) }
}
