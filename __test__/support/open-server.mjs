// A server that lets everybody in who comes over any network, with a password.

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { startServer } from '../../scripts/embedded-postgres.mjs'

/** Starts one, which ends with the test file. */
export async function startOpenServer() {
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-hba-'))
  after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'pg_hba.conf')
  await writeFile(file, 'host all all all scram-sha-256\n')
  await chmod(folder, 0o755)
  const server = await startServer({ listen_addresses: '*', hba_file: file })
  after(() => server.stop())
  return server
}
