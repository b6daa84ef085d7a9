// Somebody between client and server who ends the client's TLS, speaks TLS to the server, and passes on all that is said.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { after } from 'node:test'
import { TLSSocket, connect as connectTls } from 'node:tls'

const REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/** Starts one before this port of the machine, with a certificate of its own. */
export async function startMeddler(target, { pem }, key) {
  const sockets = new Set()
  const keep = (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    return socket
  }
  const meddle = async (near) => {
    keep(near)
    await once(near, 'data')
    const far = keep(connect(target, '127.0.0.1'))
    far.write(REQUEST)
    await once(far, 'data')
    const toServer = keep(connectTls({ socket: far, rejectUnauthorized: false }))
    const toClient = keep(new TLSSocket(near, { isServer: true, cert: pem, key }))
    near.write('S')
    toClient.pipe(toServer).pipe(toClient)
  }
  const server = createServer((near) => void meddle(near).catch(() => near.destroy()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    sockets.forEach((socket) => socket.destroy())
    server.close()
  })
  return { port: server.address().port }
}
