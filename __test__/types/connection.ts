// What may say where to connect. Only compiled, never run.

import advisoryLock from 'advisory-lock-native'
import type { ConnectionConfig, SslConfig } from 'advisory-lock-native'
import contract2 from 'advisory-lock-native/v2'
import type { ConnectionConfig as ConnectionConfig2 } from 'advisory-lock-native/v2'
import type { ClientConfig, PoolConfig } from 'pg'
import type { ConnectionOptions } from 'node:tls'

declare const ofClient: ClientConfig
declare const ofPool: PoolConfig
declare const ofTls: ConnectionOptions
declare const pem: Buffer

advisoryLock(ofClient)
advisoryLock(ofPool, { heartbeat: 1000 })
contract2(ofClient)
contract2(ofPool)
const ssl: SslConfig = ofTls
advisoryLock({})
advisoryLock({ host: 'localhost', port: 5432, user: 'me', password: 'secret', database: 'db', ssl: true })
advisoryLock({ connectionString: process.env.DATABASE_URL, ssl: { rejectUnauthorized: false } })
advisoryLock({ password: () => 'token', ssl: { ca: [pem, 'text'], cert: pem, key: pem, servername: 'db.example' } })
advisoryLock({ password: async () => 'token', ssl })
advisoryLock({ password: undefined, ssl: { ca: undefined } })
const config: ConnectionConfig = { statement_timeout: false, connectionTimeoutMillis: 0 }
const config2: ConnectionConfig2 = config
contract2(config2)

// @ts-expect-error a port is no object
advisoryLock({ port: {} })
// @ts-expect-error nor does a function give a number
advisoryLock({ password: () => 5 })
// @ts-expect-error a mistyped field
advisoryLock({ hots: 'localhost' })
// @ts-expect-error and one of TLS
advisoryLock({ ssl: { rejectUnauthorised: false } })
