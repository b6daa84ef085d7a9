// The TypeScript form of `require`.

import advisoryLock = require('advisory-lock-native')

export const key: advisoryLock.Key = advisoryLock.strToKey('name')
export const mutex: advisoryLock.Mutex = advisoryLock('postgres://localhost/db')('name')
export const same: typeof advisoryLock = advisoryLock.default
