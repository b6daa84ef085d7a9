const advisoryLock = require('advisory-lock-native')

it('the last act is a lock', () => {
  advisoryLock(process.env.PG_CONNECTION_STRING)('mocha last').lock()
})
