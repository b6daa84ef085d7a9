// A child process for which one file of the system is another one, which the test writes.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { program } from './program.mjs'
import { until } from './database.mjs'

/**
 * Starts a script of `children/` that prints lines of JSON, each an `event`; `event()` waits for the next that fits.
 *
 * @param {import('node:test').TestContext} t at whose end it ends
 * @param {string} path the file that is another one, empty at first
 */
export async function startMountedChild(t, path, script, ...parameters) {
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-mount-'))
  const file = join(folder, 'file')
  const write = (text) => writeFile(file, text)
  await write('')
  const child = fileURLToPath(new URL(`../children/${script}.cjs`, import.meta.url))
  const mount = `mount --bind "$0" ${path} && exec "$@"`
  const all = ['--map-root-user', '--mount', 'sh', '-c', mount, file, process.execPath, child, ...parameters]
  const process_ = spawn(program('unshare', 'util-linux'), all, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(process_, 'exit')
  const events = []
  createInterface({ input: process_.stdout }).on('line', (line) => events.push(JSON.parse(line)))
  t.after(async () => {
    process_.stdin.end()
    assert.deepEqual(await ended, [0, null])
    await rm(folder, { recursive: true })
  })
  return {
    write,
    async event(name, fits = () => true) {
      const find = () => events.findIndex((event) => event.event === name && fits(event))
      await until(() => find() >= 0, `${name}, after ${JSON.stringify(events)}`)
      return events.splice(0, find() + 1).at(-1)
    },
  }
}
