import advisoryLock, { strToKey } from 'advisory-lock-native'
import contract2 from 'advisory-lock-native/v2'

const url = process.env.PG_CONNECTION_STRING
const key = await advisoryLock(url)('bundled').withLock(() => strToKey('test-lock'))
const unlock = await contract2(url)('bundled').tryLock()
await unlock()
console.log(`locked ${key}`)
