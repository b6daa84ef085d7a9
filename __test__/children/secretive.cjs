'use strict'
// Tries to connect by each of the strings in a file, in a network of its own whose only name server is this process. Prints
// every error in full, every trace, and every name that was asked for.

const { spawnSync } = require('node:child_process')
const { createSocket } = require('node:dgram')
const { readFileSync } = require('node:fs')
const { inspect } = require('node:util')

// What Node.js is to trace is decided when a process starts.
if (process.env.NODE_DEBUG !== 'advisory-lock') {
  const env = { ...process.env, NODE_DEBUG: 'advisory-lock' }
  process.exit(spawnSync(process.execPath, process.argv.slice(1), { env, stdio: ['ignore', 1, 1] }).status)
}

const advisoryLock = require('../../index.js')

const NO_SUCH_NAME = 3

const asked = []
const server = createSocket('udp4')
server.on('message', (question, { address, port }) => {
  const labels = []
  let place = 12
  for (let length; (length = question[place]) > 0; place += length + 1) {
    labels.push(question.toString('utf8', place + 1, place + 1 + length))
  }
  asked.push(labels.join('.'))
  const answer = Buffer.from(question)
  answer[2] |= 0x80
  answer[3] = (answer[3] & 0xf0) | NO_SUCH_NAME
  server.send(answer, port, address)
})

async function outcome(string, variables) {
  Object.assign(process.env, variables)
  const createMutex = advisoryLock(string, { connectTimeout: 2000 })
  for (const name of Object.keys(variables)) delete process.env[name]
  const error = await createMutex('x').tryLock().then(() => undefined, (reason) => reason)
  await createMutex.close()
  return `${error?.code} ${inspect(error, { depth: 9, showHidden: true })} ${error?.stack} ${JSON.stringify(error)} ${inspect([createMutex, createMutex('x')], { depth: 9, showHidden: true })}`
}

server.bind(53, '127.0.0.1', async () => {
  for (const [number, { string, variables }] of JSON.parse(readFileSync(process.argv[2], 'utf8')).entries()) {
    asked.length = 0
    console.log(`\n#${number}`)
    const shown = await outcome(string, variables)
    console.log(`${shown}\nasked for: ${asked.join(' ')}`)
  }
  process.exit(0)
})
