// What clients send: written down on its way to the server, or answered by one fixed text.

import { after } from 'node:test'
import { startListener } from './listener.mjs'
import { startProxy } from './proxy.mjs'

/** Starts a proxy before this port of the machine; `sent` has a buffer for each connection, in the order of their coming. */
export async function startRecorder(target) {
  const sent = []
  const record = (socket) => {
    const index = sent.push(Buffer.alloc(0)) - 1
    socket.on('data', (data) => (sent[index] = Buffer.concat([sent[index], data])))
  }
  const proxy = await startProxy(`postgres://127.0.0.1:${target}`, record)
  after(proxy.close)
  return { port: Number(new URL(proxy.connectionString).port), sent }
}

/** Starts a server that answers each packet with this and counts its connections. */
export async function startAnswering(answer) {
  const packets = []
  let connections = 0
  const { port } = await startListener((socket) => {
    connections++
    socket.on('data', (data) => {
      packets.push(data)
      if (answer !== undefined) socket.write(answer)
    })
  })
  return { port, packets, connections: () => connections }
}
