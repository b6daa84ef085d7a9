'use strict'
// Takes a lock, by the main thread or in a worker, and another owner waits for it. Blocks its thread when it is told to, and gives
// the lock up as soon as it goes on: after that, or after it has been stopped. Prints a line of JSON for what happens, in the
// order in which it happens, with the machine's monotonic time in milliseconds. Ends when its standard input does.

const { writeSync } = require('node:fs')
const { createInterface } = require('node:readline')
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
const advisoryLock = require('../../index.js')

const [connectionString, name, thread, options] = isMainThread ? process.argv.slice(2) : workerData
const now = () => Number(process.hrtime.bigint()) / 1e6
const print = (event, more) => writeSync(1, `${JSON.stringify({ event, at: now(), ...more })}\n`)
const outcome = (promise) => promise.then((value) => ({ value: typeof value }), ({ code, cause }) => ({ code, cause: cause?.code }))

async function main() {
  const owner = () => advisoryLock(connectionString, JSON.parse(options))
  const unlock = await owner()(name).lock()
  // Kept, as code does that was given it.
  const { signal } = unlock
  const goesOn = () => {
    print('goes on', { aborted: signal.aborted })
    void outcome(unlock()).then((result) => print('unlocked', result))
  }
  signal.addEventListener('abort', () => print('lost', { code: signal.reason.code, cause: signal.reason.cause.code }))
  void outcome(owner()(name).lock()).then((result) => print('next', result))

  let last = now()
  const ticks = setInterval(() => {
    const pause = now() - last
    last = now()
    if (pause < 2000) return
    clearInterval(ticks)
    goesOn()
  }, 20)
  const block = (milliseconds) => {
    clearInterval(ticks)
    print('blocks')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(milliseconds))
    goesOn()
  }
  if (isMainThread) createInterface({ input: process.stdin }).on('line', block).on('close', () => process.exit())
  else parentPort.on('message', block)
  print('held', { pid: process.pid })
}

if (isMainThread && thread === 'worker') {
  const worker = new Worker(__filename, { workerData: process.argv.slice(2) })
  createInterface({ input: process.stdin })
    .on('line', (line) => worker.postMessage(line))
    .on('close', () => process.exit())
} else main()
