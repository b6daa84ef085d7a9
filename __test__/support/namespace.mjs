// A network of its own for a client, joined to that of the tests by a bridge: whoever takes the client's end out of the bridge
// cuts a wire in the middle. Neither side sees its own link go, and nothing says that anybody is gone.

import { execFileSync, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { program } from './program.mjs'

const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n']

/** Makes the namespace; `close()` removes it. Needs root, or `sudo` without a password. */
export function createNamespace() {
  const ip = program('ip', 'iproute2')
  const run = (...parameters) => {
    const [file, ...all] = [...asRoot, ip, ...parameters]
    execFileSync(file, all, { stdio: ['ignore', 'ignore', 'pipe'] })
  }
  const id = randomInt(0xffff).toString(16)
  const [name, bridge, near, far] = ['ns', 'br', 'near', 'far'].map((part) => `al-${part}-${id}`)
  // 198.18.0.0/15 is set aside for tests of networks (RFC 2544).
  const network = `198.18.${randomInt(256)}`
  const close = () => {
    for (const leftover of [['netns', 'del', name], ['link', 'del', near], ['link', 'del', bridge]]) {
      try {
        run(...leftover)
      } catch {
        // The namespace takes its end of the link with it.
      }
    }
  }
  try {
    run('netns', 'add', name)
    run('link', 'add', bridge, 'type', 'bridge')
    run('addr', 'add', `${network}.1/24`, 'dev', bridge)
    run('link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', name)
    run('link', 'set', near, 'master', bridge)
    for (const link of [bridge, near]) run('link', 'set', link, 'up')
    run('-n', name, 'addr', 'add', `${network}.2/24`, 'dev', far)
    run('-n', name, 'link', 'set', far, 'up')
  } catch (error) {
    close()
    throw new Error('the tests of a cut network need root, or sudo without a password', { cause: error })
  }
  return {
    /** The tests' address in the network. */
    address: `${network}.1`,
    cut: () => run('link', 'set', near, 'nomaster'),
    close,
    /** Starts a script of `children/` in there; `events` gives its lines of JSON. */
    start(script, ...parameters) {
      const path = fileURLToPath(new URL(`../children/${script}.cjs`, import.meta.url))
      const [file, ...all] = [...asRoot, ip, 'netns', 'exec', name, process.execPath, path, ...parameters]
      return spawn(file, all, { stdio: ['pipe', 'pipe', 'inherit'] })
    },
  }
}
