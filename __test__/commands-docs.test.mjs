// What docs/commands.md shows is what happens: its sessions in a shell, typed and compared.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, test } from 'node:test'
import { HELP, OPTIONS } from '../lib/command/options.js'
import { programs, unconnected } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlUnlock } from './support/database.mjs'


const database = await openDatabase()
const page = readFileSync(new URL('../docs/commands.md', import.meta.url), 'utf8')
const bin = mkdtempSync(join(tmpdir(), 'advisory-lock-bin-'))
after(() => rmSync(bin, { recursive: true }))
for (const name of ['withlock', 'pgmutex', 'pglocks', 'advisory-lock-native']) symlinkSync(programs[name], join(bin, name))

const sessions = [...page.matchAll(/^```console\n([^]*?)^```$/gm)].map(([, text]) => text)
const isCommand = (line) => line.startsWith('$ ')

/** Numbers of processes and addresses differ, and with them the widths of columns. */
const comparable = (text) =>
  text
    .replaceAll(/(?<!end a )session .*/g, 'session')
    .replaceAll(/process \d+/g, 'process')
    .replaceAll(/(holds|waits) {2}(\w+) {2}.*/g, '$1  $2')
    .replaceAll(/backend\(\d+\)/g, 'backend')
    .replaceAll(/(?<=\S) {2,}/g, '  ')

async function type(lines) {
  const env = { ...unconnected, PATH: `${bin}${delimiter}${process.env.PATH}`, DATABASE_URL: database.connectionString }
  return new Promise((resolve) => execFile('sh', ['-c', `exec 2>&1\n${lines.join('\n')}`], { env }, (_, output) => resolve(output)))
}

for (const [index, session] of sessions.entries()) {
  test(`session ${index + 1} of ${sessions.length}`, async () => {
    const lines = session.trimEnd().split('\n')
    const isTaken = lines.some((line) => line.includes('not free'))
    if (isTaken) await sqlLock(database.sql, 'job')
    const typed = lines.filter(isCommand).map((line) => line.slice(2)).filter((line) => !line.startsWith('export '))
    const expected = lines.filter((line) => !isCommand(line)).join('\n')
    assert.equal(comparable(await type(typed)).trimEnd(), comparable(expected))
    if (isTaken) await sqlUnlock(database.sql, 'job')
  })
}

test('the page and the help have every option', () => {
  assert.ok(sessions.length >= 4)
  for (const program of ['withlock', 'pgmutex', 'pglocks']) {
    for (const option of Object.keys(OPTIONS[program])) {
      assert.ok(page.includes(`--${option}`), `--${option}`)
      assert.ok(HELP[program].includes(`--${option}`), `--${option}`)
    }
  }
})

test('lines have at most 120 characters', () => {
  assert.deepEqual(page.split('\n').filter((line) => line.length > 120 && !line.startsWith('|')), [])
})
