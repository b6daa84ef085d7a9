// A TCP proxy that writes down what clients send: what is to be encrypted must not be found in it.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { after } from 'node:test'

/** Starts one before this port of the machine; `sent` has a buffer for each connection, in the order of their coming. */
export async function startRecorder(target) {
  const sent = []
  const sockets = new Set()
  const server = createServer((near) => {
    const index = sent.push(Buffer.alloc(0)) - 1
    const far = connect(target, '127.0.0.1')
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
    near.on('data', (data) => {
      sent[index] = Buffer.concat([sent[index], data])
      far.write(data)
    })
    far.on('data', (data) => near.write(data))
    near.on('end', () => far.end())
    far.on('end', () => near.end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    sockets.forEach((socket) => socket.destroy())
    server.close()
  })
  return { port: server.address().port, sent }
}

/** Starts a server that answers each first packet with this and counts its connections. */
export async function startAnswering(answer) {
  const packets = []
  let connections = 0
  const sockets = new Set()
  const server = createServer((socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (data) => {
      packets.push(data)
      if (answer !== undefined) socket.write(answer)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    sockets.forEach((socket) => socket.destroy())
    server.close()
  })
  return { port: server.address().port, packets, connections: () => connections }
}
