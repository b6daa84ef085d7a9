// The programs of the other runtimes, as their npm packages bring them.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './package.mjs'

const { platform, arch } = process
const suffix = platform === 'win32' ? '.exe' : ''

/** The path of Bun. */
export function bun() {
  const name = `${platform === 'win32' ? 'windows' : platform}-${arch === 'arm64' ? 'aarch64' : arch}`
  return firstOf(`@oven/bun-${name}/bin/bun${suffix}`, 'bun/bin/bun.exe')
}

/** The path of Deno. */
export function deno() {
  return firstOf(`@deno/${platform}-${arch}${platform === 'linux' ? '-glibc' : ''}/deno${suffix}`, `deno/deno${suffix}`)
}

/** A program lies in its platform's package, or where the install script of its main package has moved it, if that ran. */
function firstOf(...candidates) {
  const found = candidates.map((path) => join(root, 'node_modules', path)).find((path) => existsSync(path))
  assert.ok(found, `none of ${candidates.join(', ')} is installed`)
  return found
}
