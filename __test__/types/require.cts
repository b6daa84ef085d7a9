// The TypeScript form of `require`.

import advisoryLock = require('advisory-lock-native')
import contract2 = require('advisory-lock-native/v2')

export const key: advisoryLock.Key = advisoryLock.strToKey('name')
export const mutex: advisoryLock.Mutex = advisoryLock('postgres://localhost/db')('name')
export const same: typeof advisoryLock = advisoryLock.default
export const mutex2: contract2.Mutex = contract2.default('postgres://localhost/db')('name')
export const sameKey: advisoryLock.Key = contract2.strToKey('name')
