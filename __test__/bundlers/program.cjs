const advisoryLock = require('advisory-lock-native')
const contract2 = require('advisory-lock-native/v2')

async function main() {
  const url = process.env.PG_CONNECTION_STRING
  const key = await advisoryLock(url)('bundled').withLock(() => advisoryLock.strToKey('test-lock'))
  const unlock = await contract2(url)('bundled').tryLock()
  await unlock()
  console.log(`locked ${key}`)
}

main()
