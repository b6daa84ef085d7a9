// Makes the packages of a release from the tree and the binaries that were built from it, as tarballs ready to be published:
//
//   node scripts/release.mjs <folder with the binaries> <folder for the packages> --repository <https://…>
//
// - a package for each platform, with its binary and the licences of what is linked into it;
// - the package itself, its JavaScript in two files, twice: with the tree's version, 1.y.z, whose main entry is contract 1, and
//   with 2.y.z, whose main entry is contract 2. Both are the same files otherwise, and ask for the same platforms' packages by
//   their very version, 1.y.z.
//
// `release.json` beside them lists the tarballs in the order in which they are to be published, each with its dist-tag.

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { bundle } from './bundle.mjs'
import { LICENCES_FILE } from './licences.mjs'
import { binaryName, targets } from './targets.mjs'

const root = resolve(fileURLToPath(import.meta.url), '../..')
const tree = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** What a published manifest has no use for. */
const TREE_ONLY = ['private', 'scripts', 'devDependencies', 'overrides']

/**
 * @param {string} binaries a folder with a folder `<platform>` for each platform, as `build.mjs --output` fills it
 * @param {string} packages the folder for the tarballs and `release.json`
 * @param {string} repository the address of the sources, which npm compares with where the packages are published from
 */
function release(binaries, packages, repository) {
  if (!tree.version.startsWith('1.')) throw new Error(`the tree's version is a 1.y.z, not ${tree.version}`)
  const origin = {
    repository: { type: 'git', url: `git+${repository}.git` },
    bugs: { url: `${repository}/issues` },
    homepage: `${repository}#readme`,
  }
  const stage = mkdtempSync(join(tmpdir(), 'advisory-lock-release-'))
  try {
    mkdirSync(packages, { recursive: true })
    const platforms = Object.values(targets).map((target) => stagePlatform(join(stage, target.platform), target, binaries, origin))
    const files = filesOfMain()
    const lines = [contract1(), contract2()].map((line) => stageMain(join(stage, line.version), line, files, platforms, origin))
    const list = [...platforms, ...lines].map(({ folder, name, version, tag }) => ({ name, version, tag, file: pack(folder, packages) }))
    writeFileSync(join(packages, 'release.json'), `${JSON.stringify(list, undefined, 2)}\n`)
    return list
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

/** The manifest of the line whose main entry is contract 1: the tree's own. */
const contract1 = () => ({ ...tree })

/** The manifest of the line whose main entry is contract 2. */
function contract2() {
  const entry = tree.exports['./v2']
  return {
    ...tree,
    version: tree.version.replace(/^1\./, '2.'),
    main: entry.default.replace('./', ''),
    types: entry.types.replace('./', ''),
    exports: { ...tree.exports, '.': entry },
  }
}

/** Lays out the package of one platform. */
function stagePlatform(folder, { platform, os, cpu, libc }, binaries, origin) {
  const name = `${tree.name}-${platform}`
  const binary = binaryName(platform)
  const { version, license, engines, publishConfig } = tree
  const description = `The binary of ${tree.name} for ${platform}, which installs it`
  const content = { main: binary, files: [binary, LICENCES_FILE], os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) }
  mkdirSync(folder)
  for (const file of [binary, LICENCES_FILE]) cpSync(join(binaries, platform, file), join(folder, file))
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  writeFileSync(join(folder, 'README.md'), `# ${name}\n\n${description}: there is nothing to install here by hand.\n`)
  writeManifest(folder, { name, version, description, license, ...origin, ...content, engines, publishConfig })
  return { folder, name, version, tag: tagOf(version) }
}

/** Lays out the package itself in one of its two lines. */
function stageMain(folder, line, files, platforms, origin) {
  for (const path of files) cpSync(join(root, path), join(folder, path))
  const manifest = { ...line, ...origin, files: line.files.filter(isOfMain) }
  for (const key of TREE_ONLY) delete manifest[key]
  manifest.optionalDependencies = Object.fromEntries(platforms.map(({ name, version }) => [name, version]))
  writeManifest(folder, manifest)
  // The version in the manifest is part of it.
  bundle(folder)
  return { folder, name: line.name, version: line.version, tag: tagOf(line.version) }
}

/** `latest` is the documented line, 1.x; whoever asks for `latest-2` gets the newest 2.x. Neither is moved by a pre-release. */
function tagOf(version) {
  const tag = version.includes('-') ? 'next' : 'latest'
  return version.startsWith('2.') ? `${tag}-2` : tag
}

const writeManifest = (folder, manifest) => writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`)

/** Lays out the package as its users have it, with the binary of this clone in it. */
export function layOut(folder) {
  for (const { path } of npmPack(root, '--dry-run').files) cpSync(join(root, path), join(folder, path))
  bundle(folder)
}

/** The files of the package itself. */
const filesOfMain = () => npmPack(root, '--dry-run').files.map(({ path }) => path).filter(isOfMain)

/** Not so what a clone has of its own platform. */
const isOfMain = (path) => !path.endsWith('.node') && path !== LICENCES_FILE

/** Makes the tarball of the package in a folder; its name. */
const pack = (folder, destination) => npmPack(folder, `--pack-destination=${destination}`).filename

function npmPack(folder, ...parameters) {
  const onWindows = process.platform === 'win32'
  const options = { cwd: folder, encoding: 'utf8', shell: onWindows, stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 24 }
  const output = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--loglevel=error', ...parameters], options)
  return JSON.parse(output)[0]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: { repository: { type: 'string' } }, allowPositionals: true })
  const [binaries, packages] = positionals.map((path) => resolve(path))
  try {
    // npm runs it so before it publishes the tree.
    if (process.env.npm_lifecycle_event === 'prepublishOnly') throw new Error('not the tree: what scripts/release.mjs makes of it is published')
    if (!packages || !/^https:\/\/[^/]+\/.*[^/]$/.test(values.repository ?? '')) {
      throw new Error('usage: node scripts/release.mjs <folder with the binaries> <folder for the packages> --repository <https://…>')
    }
    for (const { name, version, tag, file } of release(binaries, packages, values.repository)) {
      console.log(`release: ${name}@${version} as ${tag}: ${file}`)
    }
  } catch (error) {
    console.error(`release: ${error.message}`)
    process.exitCode = 1
  }
}
