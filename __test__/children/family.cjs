'use strict'

// A command that has started another process, as `npm run` and `sh -c` do. Both say when they are there, and which signals they
// are sent: lines `parent SIGHUP`, `child SIGHUP`. SIGTERM ends them, unless they are `stubborn`; a parent that `leaves` ends as
// soon as its child is there.

const { spawn } = require('node:child_process')
const { constants } = require('node:os')

const [manner, who = 'parent'] = process.argv.slice(2)
const say = (what) => console.log(`${who} ${what}`)

for (const signal of Object.keys(constants.signals)) {
  try {
    process.on(signal, () => {
      say(signal)
      if (signal === 'SIGTERM' && manner !== 'stubborn') process.exit(0)
    })
  } catch {
    // It cannot be caught.
  }
}
setInterval(() => {}, 1000)

if (who === 'parent') {
  const child = spawn(process.execPath, [__filename, manner, 'child'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child.once('message', () => {
    if (manner === 'leaves') process.exit(3)
    say(process.pid)
  })
} else {
  say(process.pid)
  process.send('there')
}
