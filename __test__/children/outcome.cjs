// Takes a lock and prints `ok`, or the code of the error.

const advisoryLock = require('../../index.js')

const createMutex = advisoryLock(process.argv[2])
createMutex('outcome')
  .tryLock()
  .then(
    () => console.log('ok'),
    (error) => console.log(error.code),
  )
  .finally(() => createMutex.close())
