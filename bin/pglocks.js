#!/usr/bin/env node
'use strict'

require('../lib/command/main.js').main('pglocks', process.argv.slice(2))
