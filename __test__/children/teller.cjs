'use strict'

// Says which signals it is sent, numbered: `SIGINT 2`. SIGQUIT and SIGTERM end it.

const counts = {}
for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGCONT']) {
  process.on(signal, () => {
    counts[signal] = (counts[signal] ?? 0) + 1
    console.log(`${signal} ${counts[signal]}`)
    if (signal === 'SIGQUIT' || signal === 'SIGTERM') process.exit(0)
  })
}
setInterval(() => {}, 1000)
console.log('in')
