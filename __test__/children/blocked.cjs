'use strict'
// Takes two locks on connections of their own, blocks its JavaScript thread, and tells what it finds afterwards.

const advisoryLock = require('../../index.js')

const [connectionString, milliseconds] = process.argv.slice(2)

async function main() {
  // What is held keeps no process alive, and the news of a loss may be a moment on its way.
  const alive = setInterval(() => {}, 1000)
  const [kept, lost] = await Promise.all(['kept', 'lost'].map((name) => advisoryLock(connectionString, { applicationName: name })(name).lock()))
  const told = new Promise((resolve) => {
    lost.signal.addEventListener('abort', () => resolve({ code: lost.signal.reason.code, at: performance.now() }))
  })
  await new Promise((resolve) => process.send('blocks', resolve))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(milliseconds))
  const runs = performance.now()
  const news = await told
  const release = await lost().catch(({ code }) => code)
  process.send({ isKept: !kept.signal.aborted && (await kept()), code: news.code, release, after: news.at - runs })
  clearInterval(alive)
  process.disconnect()
}
main()
