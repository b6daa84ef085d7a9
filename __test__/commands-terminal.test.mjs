// withlock on a real terminal: whose turn it is, Ctrl-C, Ctrl-Z, and the shell around it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { node, programs, unconnected } from './support/commands.mjs'
import { openDatabase, sqlLock, sqlTry, sqlUnlock, until } from './support/database.mjs'
import { program } from './support/program.mjs'
import { keys, onTerminal } from './support/terminal.mjs'

const database = await openDatabase()
const teller = fileURLToPath(new URL('children/teller.cjs', import.meta.url))
const bash = program('bash')

const quote = (text) => `'${text}'`
const underLock = (name, ...command) => [node, programs.withlock, name, '--', ...command]
const line = (name, ...command) => underLock(name, ...command).map(quote).join(' ')
const env = { ...unconnected, PG_CONNECTION_STRING: database.connectionString, PS1: '', PATH: process.env.PATH }

/** A shell as somebody uses it, with job control. */
async function openShell() {
  const shell = onTerminal([bash, '--norc', '--noprofile', '--noediting', '-i'], env)
  // As it is shown when it is typed, it has quotes.
  shell.type('unset HISTFILE; PS1=""; echo rea""dy\n')
  await shell.shows('ready')
  return shell
}

const script = (text) => onTerminal([bash, '-c', text], env)
const held = (name) => until(async () => !(await sqlTry(database.sql, name)), 'the lock is held')

test('a command has the turn on the terminal', async () => {
  const terminal = onTerminal(underLock('turn', 'sh', '-c', 'ps -o pgid=,tpgid= -p $$; read line; echo "got $line"'), env)
  await until(() => /\d+\s+\d+/.test(terminal.shown), 'it tells whose turn it is')
  const [group, foreground] = terminal.shown.trim().split(/\s+/)
  assert.equal(group, foreground)
  terminal.type('a line\n')
  await terminal.shows('got a line')
  assert.equal(await terminal.ended, 0)
})

test('Ctrl-C and the other keys reach the command once', async () => {
  for (const [what, command] of [
    ['alone', underLock('keys', node, teller)],
    ['with a pipe for its input', [bash, '-c', `: | ${line('keys', node, teller)}; exit $?`]],
    ['with a pipe for its output', [bash, '-c', `${line('keys', node, teller)} | (trap "" INT QUIT; exec cat)`]],
    ['in a script', [bash, '-c', `${line('keys', node, teller)}; exit $?`]],
  ]) {
    const terminal = onTerminal(command, env)
    await terminal.shows('in')
    for (const number of [1, 2, 3]) {
      terminal.type(keys.interrupt)
      await terminal.shows(`SIGINT ${number}`)
    }
    terminal.type(keys.quit)
    await terminal.shows('SIGQUIT 1')
    await terminal.ended
    assert.equal(terminal.shown.match(/SIGINT/g).length, 3, what)
    assert.equal(terminal.shown.match(/SIGQUIT/g).length, 1, what)
  }
})

test('a command that Ctrl-C ends has the status that a shell has for it', async () => {
  const terminal = onTerminal(underLock('status', 'sleep', '60'), env)
  await held('status')
  terminal.type(keys.interrupt)
  assert.equal(await terminal.ended, 130)
  const shell = await openShell()
  shell.type(`${line('status', 'sleep', '60')}\n`)
  await held('status')
  shell.type(keys.interrupt)
  shell.type('echo status=$?\n')
  await shell.shows('status=130')
  shell.type('exit\n')
  await shell.ended
})

test('a script ends by Ctrl-C, and does not go on with its next line', async () => {
  const running = script(`${line('script', 'sleep', '60')}; echo next`)
  await held('script')
  running.type(keys.interrupt)
  assert.equal(await running.ended, -2)
  await sqlLock(database.sql, 'script')
  const waiting = script(`${line('script', 'true')}; echo next`)
  await database.waiter('script')
  waiting.type(keys.interrupt)
  assert.equal(await waiting.ended, -2)
  await sqlUnlock(database.sql, 'script')
  const reading = script(`${line('script', 'cat')}; echo next`)
  await held('script')
  // From then on it has the turn, and Ctrl-C is for it alone.
  reading.type('line\n')
  await reading.shows('line\r\nline')
  reading.type(keys.interrupt)
  assert.equal(await reading.ended, -2)
  for (const terminal of [running, waiting, reading]) assert.ok(!terminal.shown.includes('next'))
})

test('Ctrl-Z stops the job, the shell goes on, and so does the job when it is told to', async () => {
  for (const command of [line('job', node, teller), `: | ${line('job', node, teller)}`]) {
    const shell = await openShell()
    shell.type(`${command}\n`)
    await shell.shows('in\r\n')
    shell.type(keys.suspend)
    await shell.shows('Stopped')
    assert.equal(await sqlTry(database.sql, 'job'), false)
    shell.type('fg\n')
    await shell.shows('SIGCONT 1')
    shell.type(keys.interrupt)
    await shell.shows('SIGINT 1')
    shell.type(keys.suspend)
    await shell.shows('Stopped')
    shell.type('bg\n')
    await shell.shows('SIGCONT 2')
    shell.type('echo the shell has the tu""rn; kill %1; wait %1; echo status=$?\n')
    await shell.shows('the shell has the turn')
    await shell.shows('status=0')
    shell.type('exit\n')
    await shell.ended
  }
})

test('Ctrl-Z where there is no shell to let it go on again', async () => {
  const terminal = onTerminal(underLock('no shell', node, teller), env)
  await terminal.shows('in')
  terminal.type(keys.suspend)
  await terminal.shows('SIGCONT 1')
  terminal.type(keys.quit)
  assert.equal(await terminal.ended, 0)
})

test('a job in the background that wants to read waits for its turn', async () => {
  const shell = await openShell()
  shell.type(`${line('reader', 'sh', '-c', 'read line; echo "got $line"')} &\n`)
  await held('reader')
  await until(async () => {
    shell.type('jobs\n')
    return /Stopped/.test(shell.shown)
  }, 'it has stopped')
  shell.type('fg\n')
  shell.type('a line\n')
  await shell.shows('got a line')
  shell.type('echo status=$?; exit\n')
  await shell.shows('status=0')
  await shell.ended
})

test('others of the same job read from the terminal as before', async () => {
  const beside = line('beside', 'sh', '-c', 'echo in; exec sleep 60')
  const terminal = script(`${beside} & read line; echo "got $line"; kill $!; wait $!; echo status=$?`)
  await terminal.shows('in')
  terminal.type('a line\n')
  await terminal.shows('got a line')
  await terminal.shows('status=143')
  await terminal.ended
})

test('the terminal goes back to the shell, also from a command that cannot be started', async () => {
  const shell = await openShell()
  for (const [command, status] of [['true', 0], ['/no/such/command', 127], ["sh -c 'kill -9 $$'", 137]]) {
    shell.type(`${node} ${programs.withlock} back -- ${command}; echo status=$?\n`)
    await shell.shows(`status=${status}`)
  }
  shell.type('exit\n')
  assert.equal(await shell.ended, 0)
})
