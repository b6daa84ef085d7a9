// A network of its own for a client, joined to that of the tests by a bridge: whoever takes the client's end out of the bridge
// cuts a wire in the middle. Neither side sees its own link go, and nothing says that anybody is gone.

import { execFileSync, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
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
  // Of several addresses those come first that are most like the client's own (RFC 6724), which ends in 2: the silent ones.
  const silent = [3, 4, 5].map((last) => `${network}.${last}`)
  const address = `${network}.129`
  const sudo = (file, ...parameters) => {
    const [first, ...all] = [...asRoot, file, ...parameters]
    return { file: first, all }
  }
  const etc = `/etc/netns/${name}`
  const close = () => {
    const { file, all } = sudo('rm', '-rf', etc)
    execFileSync(file, all)
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
    run('addr', 'add', `${address}/24`, 'dev', bridge)
    run('link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', name)
    run('link', 'set', near, 'master', bridge)
    for (const link of [bridge, near]) run('link', 'set', link, 'up')
    run('-n', name, 'addr', 'add', `${network}.2/24`, 'dev', far)
    for (const link of [far, 'lo']) run('-n', name, 'link', 'set', link, 'up')
    // Nobody answers to these, and nobody says so.
    for (const nobody of silent) run('-n', name, 'neigh', 'add', nobody, 'lladdr', '02:00:00:00:00:01', 'dev', far, 'nud', 'permanent')
  } catch (error) {
    close()
    throw new Error('the tests of a cut network need root, or sudo without a password', { cause: error })
  }
  return {
    /** The tests' address in the network. */
    address,
    cut: () => run('link', 'set', near, 'nomaster'),
    /** From now on so much passes from there to the tests, and so many bytes have room before it. */
    limit(rate, room) {
      const { file, all } = sudo(ip, 'netns', 'exec', name, 'sh', '-c', `echo "4096 ${room} ${room}" > /proc/sys/net/ipv4/tcp_wmem`)
      execFileSync(file, all)
      const shaped = sudo(program('tc', 'iproute2'), '-n', name, 'qdisc', 'add', 'dev', far, 'root', 'tbf', 'rate', rate, 'burst', '4kb', 'latency', '400ms')
      execFileSync(shaped.file, shaped.all)
    },
    /** Addresses of which nothing is ever heard. */
    silent,
    /** What whoever is started from now on finds in `/etc` by this name. */
    provide(path, text) {
      const { file, all } = sudo('sh', '-c', `mkdir -p ${etc} && cat > ${etc}/${path}`)
      execFileSync(file, all, { input: text })
    },
    close,
    /** Starts a script of `children/` in there; `events` gives its lines of JSON. */
    start(script, ...parameters) {
      const path = fileURLToPath(new URL(`../children/${script}.cjs`, import.meta.url))
      const [file, ...all] = [...asRoot, ip, 'netns', 'exec', name, process.execPath, path, ...parameters]
      return spawn(file, all, { stdio: ['pipe', 'pipe', 'inherit'] })
    },
    /** Runs one to its end: what it has printed. */
    async run(script, ...parameters) {
      const child = this.start(script, ...parameters)
      let printed = ''
      child.stdout.setEncoding('utf8').on('data', (text) => (printed += text))
      await once(child, 'close')
      return printed.trim()
    },
  }
}
