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

async function publish(folder) {
  const registry = npm('config', 'get', 'registry').trim().replace(/\/?$/, '/')
  const packages = JSON.parse(readFileSync(join(folder, 'release.json'), 'utf8'))
  const missing = []
  for (const entry of packages) {
    const { name, version, file } = entry
    const published = await integrityIn(registry, name, version)
    if (published === undefined) missing.push(entry)
    else if (published === integrityOf(join(folder, file))) console.log(`publish: ${name}@${version} is there already`)
    else throw new Error(`${name}@${version} is published with another content: publish the packages of that build, or a new version`)
  }
  for (const { name, version, tag, file } of missing) {
    npm('publish', join(folder, file), `--tag=${tag}`, '--access=public', '--ignore-scripts')
    console.log(`publish: ${name}@${version} is published, as ${tag}`)
  }
}

const integrityOf = (path) => `sha512-${createHash('sha512').update(readFileSync(path)).digest('base64')}`

/** The checksum of a version in the registry; `undefined` where it is not published. */
async function integrityIn(registry, name, version) {
  const response = await fetch(`${registry}${name}/${version}`)
  if (response.status === 404) return undefined
  if (!response.ok) throw new Error(`${response.url} answers ${response.status}`)
  const { dist } = await response.json()
  return dist.integrity
}

function npm(...parameters) {
  return execFileSync('npm', parameters, { encoding: 'utf8', shell: process.platform === 'win32', stdio: ['ignore', 'pipe', 'inherit'] })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  publish(resolve(process.argv[2])).catch((error) => {
    console.error(`publish: ${error.message}`)
    process.exitCode = 1
  })
}
