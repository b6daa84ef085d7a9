// An election whose signal cannot be listened to: `elect` throws, and the process ends by itself.
'use strict'

const advisoryLock = require('../../index.js')

const [url] = process.argv.slice(2)
try {
  advisoryLock(url)('ghost').elect(() => new Promise(() => {}), { signal: { aborted: false } })
} catch ({ name }) {
  console.log(name)
}
