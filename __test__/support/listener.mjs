// A listening socket of a test's own, on a port that is free.

import { once } from 'node:events'
import { createServer } from 'node:net'
import { after } from 'node:test'

/** Starts one, which ends with the test file: its connections, and those that `serve` hands to `keep`, are closed then. */
export async function startListener(serve) {
  const sockets = new Set()
  const keep = (socket) => {
    sockets.add(socket.on('error', () => {}))
    socket.once('close', () => sockets.delete(socket))
    return socket
  }
  const server = createServer((socket) => serve(keep(socket), keep))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    sockets.forEach((socket) => socket.destroy())
    server.close()
  })
  return { port: server.address().port }
}
