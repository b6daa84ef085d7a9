// Somebody between client and server who ends the client's TLS, speaks TLS to the server, and passes on all that is said.

import { once } from 'node:events'
import { connect } from 'node:net'
import { TLSSocket, connect as connectTls } from 'node:tls'
import { startListener } from './listener.mjs'

const REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/**
 * Starts one before this port of the machine, with a certificate of its own.
 *
 * @param {{ direct?: boolean, protocols?: string[] }} [options] whether TLS begins at once, and which protocols it agrees to then
 */
export function startMeddler(target, { pem }, key, { direct = false, protocols } = {}) {
  const meddle = async (near, keep) => {
    if (!direct) await once(near, 'data')
    const far = keep(connect(target, '127.0.0.1'))
    far.write(REQUEST)
    await once(far, 'data')
    const toServer = keep(connectTls({ socket: far, rejectUnauthorized: false }))
    const toClient = keep(new TLSSocket(near, { isServer: true, cert: pem, key, ALPNProtocols: protocols }))
    if (!direct) near.write('S')
    toClient.pipe(toServer).pipe(toClient)
  }
  return startListener((near, keep) => void meddle(near, keep).catch(() => near.destroy()))
}
