// The same as outcome.cjs by `pg`: connects, and prints `ok` or what is wrong.

const pg = require('pg')

const client = new pg.Client({ connectionString: process.argv[2] })
client.on('error', () => {})
client.connect().then(
  () => {
    console.log('ok')
    return client.end()
  },
  (error) => {
    console.log(error.code ?? error.message)
    client.connection.stream.destroy()
  },
)
