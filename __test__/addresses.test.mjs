// From a name to a connection: addresses behind which nobody is, names that nobody knows, and the codes for all that fails
// on the way, which are those of `pg`.

import assert from 'node:assert/strict'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startServer, user, password } from '../scripts/embedded-postgres.mjs'
import { startOpenServer } from './support/open-server.mjs'
import { createNamespace } from './support/namespace.mjs'
import { runChild } from './support/process.mjs'

const onLinux = process.platform === 'linux'
const skip = !onLinux && 'only Linux has network namespaces'

test('a name with dead addresses', { skip }, async (t) => {
  const server = await startOpenServer()
  const network = createNamespace()
  t.after(network.close)
  const [silent, ...more] = network.silent
  const names = {
    'first.test': [silent, network.address],
    'last.test': [network.address, silent],
    'among.test': [silent, network.address, ...more],
    'refused.test': [silent, '127.0.0.1'],
    'dead.test': [silent, ...more],
  }
  network.provide('hosts', Object.entries(names).map(([name, addresses]) => addresses.map((address) => `${address} ${name}\n`).join('')).join(''))
  const string = (name) => `postgres://${user}:${encodeURIComponent(password)}@${name}:${server.port}/postgres`
  const attempt = async (name, ...parameters) => JSON.parse(await network.run('attempt', string(name), ...parameters.map((each) => JSON.stringify(each))))

  for (const name of ['first.test', 'last.test', 'among.test']) {
    await t.test(`${name}: the address that answers is used`, async () => {
      const { code, milliseconds } = await attempt(name, { timeout: 3000 })
      assert.equal(code, 'ok')
      // Each silent address is given 250 ms before the next; a busy machine takes its part.
      const least = (names[name].length - 1) * 240
      assert.ok(milliseconds > least && milliseconds < least + 1500, `after ${milliseconds} ms`)
    })
  }
  await t.test('one is silent, the other refuses', async () => {
    const { code, address } = await attempt('refused.test', {}, { connectTimeout: 1000 })
    assert.deepEqual([code, address], ['ETIMEDOUT', silent])
  })
  await t.test('all are silent', async () => {
    const { code, milliseconds } = await attempt('dead.test', {}, { connectTimeout: 1000 })
    assert.equal(code, 'ETIMEDOUT')
    assert.ok(milliseconds < 3000, `after ${milliseconds} ms`)
  })
  await t.test('nobody tells what addresses a name has', async () => {
    network.provide('resolv.conf', `nameserver ${silent}\noptions timeout:1 attempts:1\n`)
    assert.equal(await network.run('outcome-of-pg', string('unknown.test')), 'EAI_AGAIN')
    const { code, message } = await attempt('unknown.test')
    assert.equal(code, 'EAI_AGAIN')
    assert.match(message, /unknown\.test/)
  })
})

test('the system’s errors have the codes that they have in pg', { skip: !onLinux && 'the paths are those of Linux' }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'advisory-lock-codes-'))
  after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'file'), '')
  await symlink('loop', join(folder, 'loop'))
  const outcome = async (script, string) => (await runChild(script, [string])).stdout.trim()
  for (const [expected, place] of [
    ['ENOENT', join(folder, 'absent')],
    ['ENOTDIR', join(folder, 'file')],
    ['ELOOP', join(folder, 'loop')],
    ['ENOTDIR', join(folder, 'file', 'inside')],
  ]) {
    const string = `postgres:///d?user=u&host=${encodeURIComponent(place)}`
    assert.equal(await outcome('outcome-of-pg', string), expected, place)
    assert.equal(await outcome('outcome', string), expected, place)
  }
  for (const [expected, file] of [
    ['EISDIR', folder],
    ['ENOTDIR', join(folder, 'file', 'inside')],
    ['ELOOP', join(folder, 'loop')],
    ['ENOENT', join(folder, 'absent')],
  ]) {
    const string = `postgres://u@127.0.0.1:1/d?sslrootcert=${encodeURIComponent(file)}`
    assert.equal(await outcome('outcome', string), expected, file)
  }
})

test('no descriptor is left for a connection: EMFILE, and once there is one the next call works', async () => {
  const server = await startServer()
  after(() => server.stop())
  const { stdout, stderr, status } = await runChild('descriptors', [server.connectionString()])
  assert.equal(stderr, '')
  assert.deepEqual([stdout.trim(), status], ['EMFILE ok', 0])
})
