'use strict'

// Makes the native part that of a system without process groups and terminals.

const native = require('../../lib/native.js')

for (const name of ['startCommand', 'openTerminal', 'ownPlace']) delete native[name]
