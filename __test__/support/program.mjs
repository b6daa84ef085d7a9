// Programs of the system that tests need: found, installed where that is possible, or missed loudly.

import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const folders = [...process.env.PATH.split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin']

function find(name) {
  const paths = folders.map((folder) => join(folder, name))
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/**
 * The path of a program. Where it is missing, Debian's package of it is installed if that is allowed.
 *
 * @throws {Error} that says which program is missing and how to get it
 */
export function program(name, debianPackage = name) {
  const found = find(name)
  if (found) return found
  const complaints = []
  if (process.getuid?.() === 0 && find('apt-get')) {
    // One at a time, as test files run side by side and each `apt-get` refuses to run beside another.
    const script = `apt-get update -q; apt-get install -y -q --no-install-recommends ${debianPackage}`
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    const lock = join(tmpdir(), 'advisory-lock-tests-apt.lock')
    const { stderr } = spawnSync('flock', [lock, 'sh', '-c', script], { env, encoding: 'utf8' })
    complaints.push(stderr)
  }
  const installed = find(name)
  if (!installed) throw new Error(`the tests need ${name}: install the package ${debianPackage}\n${complaints.join('')}`)
  return installed
}

/** The path of libfaketime, by which a program started with it as `LD_PRELOAD` sees another time. */
export function fakeTimeLibrary() {
  const faketime = program('faketime')
  const complaints = new Set()
  // It shares memory by the number of its process, and does nothing where a process of that number was killed before and has left
  // its own behind: the next one has another number.
  for (let attempt = 0; attempt < 5; attempt++) {
    const told = spawnSync(faketime, ['now', 'sh', '-c', 'echo $LD_PRELOAD'], { encoding: 'utf8' })
    const path = told.stdout.trim()
    if (told.status === 0 && path !== '') return path
    complaints.add(told.stderr)
  }
  throw new Error(`faketime does not say where its library is:\n${[...complaints].join('')}`)
}
