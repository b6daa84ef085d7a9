// A TCP proxy before the server, whose links can be cut or silenced.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** Starts one; `connectionString` leads through it, and `onClient` is told of each connection. Close it at the end of the test. */
export async function startProxy(connectionString, onClient = () => {}) {
  const target = new URL(connectionString)
  const links = new Set()
  let silent = false
  const server = createServer((near) => {
    onClient(near)
    const far = connect(Number(target.port || 5432), target.hostname)
    const link = [near, far]
    links.add(link)
    for (const [from, to] of [link, link.toReversed()]) {
      from.on('data', (data) => to.write(data))
      from.on('error', () => {})
      from.on('close', () => {
        to.destroy()
        links.delete(link)
      })
      if (silent) from.pause()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(connectionString)
  const { port } = server.address()
  url.host = `127.0.0.1:${port}`
  const cut = () => {
    for (const link of links) link.forEach((socket) => socket.destroy())
    links.clear()
  }
  const each = (change) => {
    for (const link of links) link.forEach(change)
  }
  return {
    connectionString: url.href,
    cut,
    /** From now on nothing passes, not even the end of a connection. What is sent waits on the way, as in a real network. */
    silence() {
      silent = true
      each((socket) => socket.pause())
    },
    /** From now on the server hears everything, and is not heard. */
    holdAnswers() {
      for (const [, far] of links) far.pause()
    },
    heal() {
      silent = false
      each((socket) => socket.resume())
    },
    /** From now on nobody listens; what is open stays. */
    refuse() {
      server.close()
    },
    /** Listens again, on the same port. */
    async admit() {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
    close() {
      silent = false
      cut()
      server.close()
    },
  }
}
