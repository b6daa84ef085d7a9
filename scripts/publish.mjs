// Publishes the packages that `release.mjs` made, in their order: those of the platforms before the one that asks for them.
//
//   node scripts/publish.mjs <folder with the packages>
//
// It can be repeated after a failure: what the registry has already is left out, unless it is something else than what is here.
// No script of any package runs. Who publishes is npm's business: a trusted publisher in the release's workflow, a person elsewhere.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

function publish(folder) {
  for (const { name, version, tag, file } of JSON.parse(readFileSync(join(folder, 'release.json'), 'utf8'))) {
    const path = join(folder, file)
    const published = integrityInRegistry(name, version)
    if (published === undefined) npm('publish', path, `--tag=${tag}`, '--access=public', '--ignore-scripts')
    else if (published !== integrityOf(path)) {
      throw new Error(`${name}@${version} is published with another content: publish the packages of that build, or a new version`)
    }
    console.log(`publish: ${name}@${version} ${published ? 'is there already' : `is published, as ${tag}`}`)
  }
}

const integrityOf = (path) => `sha512-${createHash('sha512').update(readFileSync(path)).digest('base64')}`

/** The checksum of a version in the registry; `undefined` where it is not published. */
function integrityInRegistry(name, version) {
  try {
    const answer = npm('view', `${name}@${version}`, 'dist.integrity', '--json', '--prefer-online')
    return answer.trim() ? JSON.parse(answer) : undefined
  } catch (error) {
    const { code } = parse(error.stdout)?.error ?? {}
    if (code === 'E404') return undefined
    throw error
  }
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function npm(...parameters) {
  return execFileSync('npm', parameters, { encoding: 'utf8', shell: process.platform === 'win32', stdio: ['ignore', 'pipe', 'inherit'] })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    publish(resolve(process.argv[2]))
  } catch (error) {
    console.error(`publish: ${error.message}`)
    process.exitCode = 1
  }
}
