// The world around an example of the docs: what the text calls its own functions. Loaded before it.

import { setTimeout as sleep } from 'node:timers/promises'

const tell = (what) => process.send?.(what)

Object.assign(globalThis, {
  migrate: async () => tell('migrate'),
  needsMigration: async () => true,
  postStats: async () => tell('postStats'),
  runDueJobs: async () => {
    tell('runDueJobs')
    await sleep(50)
  },
  buildReport: async () => tell('buildReport'),
  readCatalogue: async () => tell('readCatalogue'),
  rewriteCatalogue: async () => tell('rewriteCatalogue'),
  chargeCustomer: async () => tell('chargeCustomer'),
  syncTenant: async () => tell('syncTenant'),
  handle: (error) => tell(`handle ${error.code}`),
})
